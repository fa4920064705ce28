"""Serialised arrays for snapshots: mostly zeros, up to gigabytes uncompressed.

A blosc2 array is stored as its compressed chunks, without those that are all zero, so that nothing is decompressed when
writing or reading: 7 channels of 512 x 512 x 300 voxels take 6 ms (`NDArray.to_cframe` takes 700 ms and holds the GIL).

    4 bytes    length of the JSON, little endian
    JSON       shape, dtype, blosc2's chunks and blocks, and the number and length of each stored chunk
    chunks     blosc2's, one after the other

There is no checksum in this format; the caller stores one with the bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadFile


def packed(array: Any, settings: Mapping[str, Any] | None = None) -> bytes:
    """Serialise a numpy array or a blosc2 `NDArray`. `settings` are blosc2's `cparams` for a numpy array."""
    import blosc2

    if isinstance(array, np.ndarray):
        array = blosc2.asarray(array, cparams=dict(settings) if settings is not None else _settings())
    kept = [
        (info.nchunk, array.schunk.get_chunk(info.nchunk))
        for info in array.schunk.iterchunks_info()
        if info.special is not blosc2.SpecialValue.ZERO
    ]
    layout = {
        "shape": array.shape,
        "dtype": np.dtype(array.dtype).str,
        "chunks": array.chunks,
        "blocks": array.blocks,
        "kept": [(number, len(chunk)) for number, chunk in kept],
    }
    head = json.dumps(layout, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(head)), head, *(chunk for _, chunk in kept)])


def unpacked(
    content: bytes, shape: Sequence[int], dtype: Any, settings: Mapping[str, Any] | None = None
) -> NDArray[Any]:
    """Deserialise to a numpy array. Raises `BadFile` for damaged bytes, or another shape or dtype than expected."""
    array: NDArray[Any] = unpacked_blosc(content, shape, dtype, settings)[...]
    return array


def unpacked_blosc(content: bytes, shape: Sequence[int], dtype: Any, settings: Mapping[str, Any] | None = None) -> Any:
    """As `unpacked`, but to a blosc2 `NDArray` with the same compressed chunks. `settings` are the `cparams` for later
    writes to it."""
    import blosc2

    layout = _layout(content)
    if tuple(layout["shape"]) != tuple(shape) or layout["dtype"] != np.dtype(dtype).str:
        raise BadFile(f"an array of {tuple(shape)} {np.dtype(dtype)} was to be kept here, not {layout}")
    try:
        array = blosc2.zeros(
            tuple(shape),
            dtype=np.dtype(dtype),
            chunks=tuple(layout["chunks"]),
            blocks=tuple(layout["blocks"]),
            cparams=dict(settings) if settings is not None else _settings(),
            dparams={"nthreads": 1},
        )
    except (ValueError, RuntimeError, TypeError) as error:
        raise BadFile(f"an array that was kept can't be read: {error}") from error
    _fill(array, layout, content)
    return array


def unpack_into(content: bytes, target: Any) -> None:
    """Deserialise into a blosc2 `NDArray` of zeros. Raises `BadFile` for damaged bytes or another layout."""
    layout = _layout(content)
    found = (tuple(layout["shape"]), layout["dtype"], tuple(layout["chunks"]), tuple(layout["blocks"]))
    if found != (target.shape, np.dtype(target.dtype).str, target.chunks, target.blocks):
        raise BadFile(f"an array that was kept doesn't fit: {found}")
    _fill(target, layout, content)


def _fill(array: Any, layout: Mapping[str, Any], content: bytes) -> None:
    try:
        for number, chunk in _chunks(layout, content):
            array.schunk.update_chunk(number, chunk)
    except (RuntimeError, ValueError) as error:
        raise BadFile(f"an array that was kept can't be read: {error}") from error


def _layout(content: bytes) -> dict[str, Any]:
    try:
        (length,) = struct.unpack_from("<I", content)
        layout = json.loads(content[4 : 4 + length])
        layout["start"] = 4 + length
        complete = layout["start"] + sum(size for _, size in layout["kept"]) == len(content)
    except (struct.error, ValueError, TypeError, KeyError) as error:
        raise BadFile(f"an array that was kept can't be read: {error}") from error
    if not complete or not {"shape", "dtype", "chunks", "blocks"} <= layout.keys():
        raise BadFile("an array that was kept is cut off")
    return dict(layout)


def _chunks(layout: Mapping[str, Any], content: bytes) -> Iterator[tuple[int, bytes]]:
    at = layout["start"]
    for number, size in layout["kept"]:
        yield number, content[at : at + size]
        at += size


def _settings() -> dict[str, Any]:
    """On masks as fast as LZ4, and a third of its size (measured)."""
    import blosc2

    return {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [blosc2.Filter.NOFILTER]}
