"""Arrays as bytes, for snapshots: mostly zeros, of up to gigabytes when they are dense.

A blosc2 array is kept as the compressed chunks it consists of already, without those that are all zero, so that nothing
is decompressed on the way out or in: 7 channels of 512 x 512 x 300 voxels take 6 ms (`NDArray.to_cframe` takes 700 ms,
in which no other thread of Python runs).

    4 bytes    length of what follows, little endian
    JSON       shape, dtype, chunks, blocks (blosc2's), and of each chunk kept its number and length
    chunks     blosc2's, one after the other

Nothing here finds out that a byte has changed: whoever keeps the bytes keeps a checksum with them.
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
    """The bytes of a numpy array or of a blosc2 `NDArray`. `settings` are blosc2's `cparams` for a numpy array."""
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
    """The numpy array that was packed. Raises `BadFile` for one of another shape or type."""
    array: NDArray[Any] = unpacked_blosc(content, shape, dtype, settings)[...]
    return array


def unpacked_blosc(content: bytes, shape: Sequence[int], dtype: Any, settings: Mapping[str, Any] | None = None) -> Any:
    """The same as a blosc2 `NDArray`, compressed as it was. `settings` are for what is written to it later."""
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
    """Put what was packed into a blosc2 `NDArray` of zeros. Raises `BadFile` if it was one of another layout."""
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
    """Measured on masks: as quick as LZ4, and a third of its size."""
    import blosc2

    return {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [blosc2.Filter.NOFILTER]}
