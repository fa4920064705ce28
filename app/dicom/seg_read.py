"""A DICOM Segmentation, ours or another's -> a Mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from app.core.mask import Algorithm, Code, Mask, Segment
from app.core.volume import Geometry
from app.dicom.decoding import DEFAULT_MAX_BYTES
from app.dicom.grids import GridView
from app.dicom.parsing import PARSER_ERRORS, parse
from app.dicom.seg_frames import Frames, FrameVoxels, frames_of, own_grid, place, voxels_of
from app.errors import BadFile, NoRoom

Layer = NDArray[np.unsignedinteger]


def read_seg(
    source: Path | bytes | Dataset, geometry: Geometry | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> Mask:
    """Read BINARY, FRACTIONAL (thresholded at half of its maximum) or LABELMAP, from any writer.

    With `geometry`, frames are placed on that grid by their positions, cropped, flipped or unordered as they may be;
    without, on the smallest grid that has them all. Segments are renumbered from 1 in the order of their numbers;
    those that overlap lie in different layers. Raises `BadFile`, `UnusableSeries` (a frame that doesn't say where it
    lies), `GeometryMismatch` (frames off the grid), `NoRoom` (overlaps would need more than `max_bytes`).
    """
    if isinstance(source, Path):
        source = source.read_bytes()
    dataset = parse(source) if isinstance(source, bytes) else source
    try:
        if dataset.get("SegmentationType") not in ("BINARY", "FRACTIONAL", "LABELMAP"):
            raise BadFile("the DICOM file is no segmentation of voxels")
        frames = frames_of(dataset)
        if geometry is None:
            geometry = own_grid(frames)
        if geometry.voxel_count > max_bytes:
            raise BadFile("the segmentation spans more voxels than this server takes")
        voxels = voxels_of(dataset, frames, max_bytes)
        items = _segment_items(dataset)
        view, starts = place(frames, geometry)
        layers, layer_of = _layers(items, voxels, geometry, view, starts, max_bytes)
        segments = tuple(
            _segment(item, number, layer_of[number - 1]) for number, item in enumerate(items.values(), start=1)
        )
        return Mask(layers, segments, geometry)
    except PARSER_ERRORS as error:
        raise BadFile(f"the segmentation can't be read ({type(error).__name__})") from error


def _segment_items(dataset: Dataset) -> dict[int, Dataset]:
    """Segment descriptions by number, ascending, without the background that a LABELMAP describes (PS3.3 C.8.20.2)."""
    items = {int(item.SegmentNumber): item for item in dataset.SegmentSequence}
    if dataset.SegmentationType == "LABELMAP":
        items.pop(int(dataset.get("PixelPaddingValue") or 0), None)
    if not items or len(items) > 65535:
        raise BadFile(f"the segmentation describes {len(items)} segments")
    return dict(sorted(items.items()))


def _layers(
    items: dict[int, Dataset],
    voxels: FrameVoxels,
    geometry: Geometry,
    view: GridView,
    starts: NDArray[np.int64],
    max_bytes: int,
) -> tuple[tuple[Layer, ...], list[int]]:
    """The layers, and which of them each segment lies in."""
    dtype = np.dtype(np.uint8) if len(items) < 256 else np.dtype(np.uint16)
    numbers = voxels.frames.segments
    new_number = {old: new for new, old in enumerate(items, start=1)}
    layers: list[Layer] = [np.zeros(geometry.shape, dtype)]
    if not numbers.any():
        _place_labels(voxels, _lookup(new_number, voxels, dtype), view.of(layers[0]), starts)
        return tuple(layers), [0] * len(items)
    unknown = set(numbers.tolist()) - set(items)
    if unknown:
        raise BadFile(f"frames of the segmentation belong to segments that it doesn't describe: {sorted(unknown)[:8]}")
    layer_of = []
    for old, new in new_number.items():
        frames = [int(n) for n in np.flatnonzero(numbers == old)]
        free = (n for n, layer in enumerate(layers) if not _overlaps(voxels, frames, view.of(layer), starts))
        chosen = next(free, len(layers))
        if chosen == len(layers):
            if (chosen + 1) * layers[0].nbytes > max_bytes:
                raise NoRoom("the segmentation's segments overlap too often to be held in memory")
            layers.append(np.zeros(geometry.shape, dtype))
        target = view.of(layers[chosen])
        for frame in frames:
            window = _window(target, voxels.frames, starts[frame])
            np.bitwise_or(window, voxels.binary(frame) * dtype.type(new), out=window)
        layer_of.append(chosen)
    return tuple(layers), layer_of


def _overlaps(voxels: FrameVoxels, frames: Sequence[int], layer: Layer, starts: NDArray[np.int64]) -> bool:
    """Whether any voxel of these frames is taken in the layer."""
    for frame in frames:
        window = _window(layer, voxels.frames, starts[frame])
        if window.any() and bool((window * voxels.binary(frame)).any()):
            return True
    return False


def _place_labels(
    voxels: FrameVoxels,
    lookup: Layer,
    target: Layer,
    starts: NDArray[np.int64],
) -> None:
    for number, start in enumerate(starts):
        window = _window(target, voxels.frames, start)
        np.maximum(window, lookup[voxels.labels(number)], out=window)


def _lookup(new_number: dict[int, int], voxels: FrameVoxels, dtype: np.dtype[Any]) -> Layer:
    """Old segment number -> new one; what isn't described is background."""
    highest = 1 if voxels.values is None else int(voxels.values.max(initial=0))
    lookup = np.zeros(max(highest, *new_number) + 1, dtype)
    for old, new in new_number.items():
        lookup[old] = new
    return lookup


def _window(array: Layer, frames: Frames, start: NDArray[np.int64]) -> Layer:
    i, j, k = (int(v) for v in start)
    return array[k, j : j + frames.rows, i : i + frames.columns]


def _segment(item: Dataset, number: int, layer: int) -> Segment:
    name = str(item.get("SegmentLabel") or f"Segment {number}")
    # A label has 64 characters; our writer keeps a longer name whole in the description.
    whole = str(item.get("SegmentDescription") or "")
    algorithm = str(item.get("SegmentAlgorithmType") or "")
    return Segment(
        number=number,
        name=whole if len(name) == 64 and whole.startswith(name) else name,
        layer=layer,
        category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
        type=_code(item, "SegmentedPropertyTypeCodeSequence"),
        color=_color(item),
        algorithm=cast(Algorithm, algorithm) if algorithm in get_args(Algorithm) else "SEMIAUTOMATIC",
        algorithm_name=str(item.get("SegmentAlgorithmName") or ""),
        tracking_uid=str(item.get("TrackingUID") or ""),
    )


def _code(item: Dataset, keyword: str) -> Code | None:
    codes = item.get(keyword)
    if not codes:
        return None
    value = codes[0].get("CodeValue") or codes[0].get("LongCodeValue") or codes[0].get("URNCodeValue") or ""
    return Code(str(value), str(codes[0].get("CodingSchemeDesignator", "")), str(codes[0].get("CodeMeaning", "")))


def _color(item: Dataset) -> tuple[int, int, int] | None:
    value = item.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
        return None
    from highdicom.color import CIELabColor

    red, green, blue = CIELabColor.from_dicom_value(list(value)).to_rgb(clip=True)
    return int(red), int(green), int(blue)
