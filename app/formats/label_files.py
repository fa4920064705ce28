"""Submitted mask files -> a Mask on the case's grid.

Nothing is resampled: a mask on the same voxels with flipped or permuted axes (RAS instead of LPS) is reoriented, a
cropped `.seg.nrrd` is padded, and anything else is a `GeometryMismatch`.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Code, Mask, Segment
from app.core.volume import Geometry
from app.errors import BadFile, BadInput, GeometryMismatch
from app.formats.grids import GridView, view_like
from app.formats.metaimage import metaimage_header
from app.formats.nrrd import nrrd_header
from app.formats.volume_files import read_data, read_header, write_nifti_layers
from app.formats.volume_header import DEFAULT_MAX_BYTES, VolumeHeader

_TOLERANCE = 1e-3
_TOLERANCE_NIFTI = 5e-3
"""NIfTI stores its transform in float32, and a qform amplifies rounding errors."""

Layer = NDArray[np.unsignedinteger]


def read_label(
    path: Path, geometry: Geometry, names: Sequence[str] | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> Mask:
    """Decode a submitted mask.

    NIfTI, NRRD and MetaImage are recognized by content; a file whose name ends in `.bin` is raw uint8 or little endian
    uint16, i fastest. Voxel values are 1-based positions in `names`; without names there is a segment for each number
    up to the largest value. A `.seg.nrrd` has its own names, values and layers, and `names` is ignored. Floating-point
    values must be whole numbers. A fourth dimension of NIfTI is layers of overlapping segments, as written by
    `write_label_nifti`.

    Raises `BadFile`, `BadInput` (values without a name, which the message lists), `GeometryMismatch`.
    """
    if path.suffix == ".bin":
        return _numbered([_raw(path, geometry)], geometry, names)
    header = read_header(path, max_bytes)
    own = described_segments(header.fields) if header.format == "NRRD" else []
    view, place = _placed(header, geometry, cropped=bool(own))
    if header.layers > 255 or (header.layers > 1 and header.format == "NRRD" and not own):
        raise BadFile(f"the {header.format} file holds {header.layers} volumes without saying what they are")
    values = read_data(path, header)
    layers = [_layer(values, header, number) for number in range(header.layers)]
    layers = [_on_grid(view.of(layer), geometry, place) for layer in layers]
    return _from_description(layers, geometry, own) if own else _numbered(layers, geometry, names)


def write_label_nifti(mask: Mask, file: Path | BinaryIO) -> None:
    """Write a mask as a compressed NIfTI labelmap whose values are segment numbers.

    Overlapping segments add a fourth dimension, one volume per layer. Raises `BadFile` (a grid that NIfTI can't store).
    """
    dtype = np.uint8 if len(mask.segments) < 256 else np.uint16
    layers = [layer.astype(dtype, copy=False) for layer in mask.layers]
    write_nifti_layers(file, layers, mask.geometry, compress=True)


def label_ending(image: str) -> str:
    """The ending of a label's file for an image's: that of its format."""
    return next((ending for ending in (".nrrd", ".mha") if image.lower().endswith(ending)), ".nii.gz")


def write_label_file(mask: Mask, file: Path | BinaryIO, ending: str) -> None:
    """Write a mask as a compressed labelmap whose values are segment numbers: `.nrrd`, `.mha`, or else NIfTI.

    Overlapping segments fit only into NIfTI here: raises `ValueError` for the others.
    """
    if ending not in (".nrrd", ".mha"):
        write_label_nifti(mask, file)
        return
    if mask.overlapping:
        raise ValueError(f"a {ending} labelmap holds one segment for each voxel")
    dtype = np.dtype(np.uint8 if len(mask.segments) < 256 else np.uint16)
    voxels = np.ascontiguousarray(mask.labelmap(), dtype.newbyteorder("<")).tobytes()
    if ending == ".mha":
        packed = zlib.compress(voxels, 1)
        content = metaimage_header(mask.geometry, dtype, len(packed)) + packed
    else:
        # No name and time in the stream, so that equal voxels make equal files.
        content = nrrd_header(mask.geometry, dtype, "gzip") + gzip.compress(voxels, 1, mtime=0)
    with file.open("wb") if isinstance(file, Path) else nullcontext(file) as target:
        target.write(content)


def _raw(path: Path, geometry: Geometry) -> NDArray[Any]:
    size = path.stat().st_size
    types: dict[int, np.dtype[Any]] = {
        geometry.voxel_count: np.dtype(np.uint8),
        2 * geometry.voxel_count: np.dtype(np.uint16).newbyteorder("<"),
    }
    if size not in types:
        raise GeometryMismatch(
            f"the mask has {size} bytes; the image has {geometry.voxel_count} voxels, of one or two bytes each"
        )
    values: NDArray[Any] = np.fromfile(path, types[size])
    return values.reshape(geometry.shape)


def _placed(header: VolumeHeader, geometry: Geometry, *, cropped: bool) -> tuple[GridView, tuple[slice, ...]]:
    """A view of the file's grid along the case's axes, and the slices of the case's grid that its voxels cover."""
    tolerance = _TOLERANCE_NIFTI if header.format == "NIfTI" else _TOLERANCE
    view = view_like(header.geometry, geometry)
    if view is None:
        reason = geometry.difference(header.geometry, tolerance) or "its axes have another direction"
        raise GeometryMismatch(f"the mask doesn't lie on the image's voxels: {reason}")
    if view.geometry.shape == geometry.shape or not cropped:
        difference = geometry.difference(view.geometry, tolerance)
        if difference:
            raise GeometryMismatch(f"the mask doesn't lie on the image's voxels: {difference}")
        return view, (slice(None),) * 3
    inverse = np.linalg.inv(geometry.affine)
    start = np.rint(inverse[:3, :3] @ view.geometry.affine[:3, 3] + inverse[:3, 3]).astype(int)
    k, j, i = (int(n) for n in start[::-1])
    within = all(s >= 0 and s + n <= m for s, n, m in zip((k, j, i), view.geometry.shape, geometry.shape, strict=True))
    move = np.eye(4)
    move[:3, 3] = start
    block = Geometry(view.geometry.shape, geometry.affine @ move)
    difference = block.difference(view.geometry, tolerance)
    if difference or not within:
        reason = difference or f"it begins at voxel ({i}, {j}, {k}) and reaches outside"
        raise GeometryMismatch(f"the mask doesn't lie on the image's voxels: {reason}")
    return view, tuple(slice(s, s + n) for s, n in zip((k, j, i), view.geometry.shape, strict=True))


def _layer(values: NDArray[Any], header: VolumeHeader, number: int) -> NDArray[Any]:
    if header.layers > 1:
        values = values[..., number] if header.layers_first else values[number]
    if (header.slope, header.intercept) != (1.0, 0.0):
        values = values * header.slope + header.intercept
    return values


def _on_grid(values: NDArray[Any], geometry: Geometry, place: tuple[slice, ...]) -> Layer:
    """The values as integers on the case's grid. Raises `BadInput` for values that can't be segment numbers."""
    dtype = np.dtype(np.uint8) if values.dtype == np.uint8 else np.dtype(np.uint16)
    layer = np.zeros(geometry.shape, dtype)
    target = layer[place]
    for source, into in zip(values, target, strict=True):
        low, high = source.min(), source.max()
        if not (low >= 0 and high <= np.iinfo(dtype).max):
            raise BadInput(f"the mask has voxel values from {low} to {high}; segments are numbered from 1, up to 65535")
        np.copyto(into, source, casting="unsafe")
        if values.dtype.kind == "f" and not np.array_equal(into, source):
            raise BadInput("the mask has voxel values that aren't whole numbers")
    return layer


def _numbered(layers: Sequence[NDArray[Any]], geometry: Geometry, names: Sequence[str] | None) -> Mask:
    """Segments by position in `names`."""
    highest = [int(layer.max()) for layer in layers]
    if names is None:
        names = [f"Segment {number}" for number in range(1, max(1, *highest) + 1)]
    if max(highest) > len(names):
        unnamed = {int(v) for layer in layers for v in np.unique(layer[layer > len(names)])}
        raise BadInput(f"the mask has the values {_listed(unnamed)}, but names for {len(names)} segments came with it")
    layer_of = [0] * len(names)
    if len(layers) > 1:
        for number, layer in enumerate(layers):
            for value in np.flatnonzero(np.bincount(layer.ravel(), minlength=1)):
                if value and layer_of[value - 1]:
                    raise BadInput(f"the mask has the value {value} in more than one of its volumes")
                if value:
                    layer_of[value - 1] = number
    segments = tuple(
        Segment(number, name, layer) for number, (name, layer) in enumerate(zip(names, layer_of, strict=True), start=1)
    )
    dtype = np.uint8 if len(names) < 256 else np.uint16
    return Mask(tuple(layer.astype(dtype, copy=False) for layer in layers), segments, geometry)


def _from_description(layers: Sequence[Layer], geometry: Geometry, own: Sequence[DescribedSegment]) -> Mask:
    """Segments as described in the file's header, renumbered in that order."""
    dtype: np.dtype[Any] = np.dtype(np.uint8 if len(own) < 256 else np.uint16)
    out: list[Layer] = []
    by_layer: dict[int, dict[int, int]] = {}
    for described in own:
        by_layer.setdefault(described.layer, {})[described.value] = described.segment.number
    for number, layer in enumerate(layers):
        lookup = np.zeros(int(layer.max()) + 1, dtype)
        known = by_layer.get(number, {})
        present = {int(v) for v in np.flatnonzero(np.bincount(layer.ravel(), minlength=1))} - {0}
        if present - set(known):
            raise BadInput(f"the mask has the values {_listed(present - set(known))}, which its header doesn't name")
        for value in present:
            lookup[value] = known[value]
        out.append(lookup[layer])
    if any(described.layer >= len(layers) for described in own):
        raise BadInput("the mask's header puts a segment into a layer that the file doesn't have")
    return Mask(tuple(out), tuple(described.segment for described in own), geometry)


def _listed(values: set[int]) -> str:
    first = sorted(values)[:8]
    return ", ".join(str(v) for v in first) + (" ..." if len(values) > len(first) else "")


@dataclass(frozen=True)
class DescribedSegment:
    """A segment, numbered by its position in the header, and its voxel value in its layer."""

    value: int
    layer: int
    segment: Segment


def described_segments(fields: Mapping[str, str]) -> list[DescribedSegment]:
    """The segments in the header of a 3D Slicer `.seg.nrrd`, in the order of their N; empty if it describes
    none. Raises `BadInput`.

    Keys are `SegmentN_Name`, `SegmentN_LabelValue`, `SegmentN_Layer`, `SegmentN_Color` and `SegmentN_Tags`
    (https://slicer.readthedocs.io/en/latest/user_guide/modules/segmentations.html).
    """
    named = (re.fullmatch(r"Segment(0|[1-9][0-9]{0,4})_LabelValue", key) for key in fields)
    numbers = sorted(int(found[1]) for found in named if found)
    described = []
    for position, n in enumerate(numbers, start=1):
        value, layer = fields[f"Segment{n}_LabelValue"], fields.get(f"Segment{n}_Layer", "0")
        if not re.fullmatch(r"[0-9]{1,5}", value) or not re.fullmatch(r"[0-9]{1,5}", layer):
            raise BadInput(f"the mask's header gives segment {n} the value {value[:16]!r} in layer {layer[:16]!r}")
        name = fields.get(f"Segment{n}_Name") or fields.get(f"Segment{n}_ID") or f"Segment {position}"
        category, kind = _terms(fields.get(f"Segment{n}_Tags", ""))
        color = _color(fields.get(f"Segment{n}_Color", ""))
        segment = Segment(position, name, int(layer), category=category, type=kind, color=color)
        described.append(DescribedSegment(int(value), int(layer), segment))
    if len({(d.value, d.layer) for d in described}) < len(described):
        raise BadInput("the mask's header gives two segments the same value")
    return described


def _terms(tags: str) -> tuple[Code | None, Code | None]:
    """Category and type of Slicer's `TerminologyEntry:context~scheme^value^meaning~scheme^value^meaning~...|`."""
    for tag in tags.split("|"):
        _, found, entry = tag.partition("TerminologyEntry:")
        terms = [term.split("^", 3) for term in entry.split("~", 3)[1:3]]
        if found and len(terms) == 2 and len(terms[0]) == 3 and len(terms[1]) >= 3:
            (scheme, value, meaning), (scheme2, value2, meaning2, *_) = terms
            complete = bool(value and value2)
            return (Code(value, scheme, meaning), Code(value2, scheme2, meaning2)) if complete else (None, None)
    return None, None


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        red, green, blue = (round(255 * min(1.0, max(0.0, float(part)))) for part in text.split())
    except ValueError:
        return None
    return red, green, blue
