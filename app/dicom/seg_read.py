"""A DICOM Segmentation of any writer -> a Mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from app.core.mask import Algorithm, Code, Mask, Segment
from app.core.volume import Geometry
from app.dicom.decoding import decode_labels
from app.dicom.parsing import PARSER_ERRORS, parse
from app.dicom.seg_frames import BinaryFrames, binary_frames, frames_of, own_grid, place
from app.errors import BadFile, ResourceExhausted
from app.formats.grids import GridView
from app.formats.volume_header import DEFAULT_MAX_BYTES

Layer = NDArray[np.unsignedinteger]


def read_seg(
    source: Path | bytes | Dataset, geometry: Geometry | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> Mask:
    """Read BINARY, FRACTIONAL (thresholded at half of its maximum) or LABELMAP.

    With `geometry`, frames are placed on that grid by their positions, and may be cropped, flipped or unordered;
    without, on the smallest grid that contains them all. Segments are renumbered from 1 in the order of their numbers;
    those that overlap lie in different layers. Raises `BadFile`, `UnusableSeries` (a frame without a position),
    `GeometryMismatch` (frames off the grid), `ResourceExhausted` (overlaps would need more than `max_bytes`).
    """
    if isinstance(source, Path):
        source = source.read_bytes()
    dataset = parse(source) if isinstance(source, bytes) else source
    try:
        if dataset.get("SegmentationType") not in ("BINARY", "FRACTIONAL", "LABELMAP"):
            raise BadFile("the DICOM file is not a voxel segmentation")
        frames = frames_of(dataset)
        if geometry is None:
            geometry = own_grid(frames)
        if geometry.voxel_count > max_bytes:
            raise BadFile("the segmentation spans more voxels than this server takes")
        items = _segment_items(dataset)
        view, starts = place(frames, geometry)
        grid = _Grid(geometry, view, starts, (frames.rows, frames.columns), _layer_type(items))
        if frames.segments is None:
            layers, layer_of = [_labelmap(decode_labels(dataset, max_bytes), list(items), grid)], [0] * len(items)
        else:
            layers, layer_of = _layered(
                binary_frames(dataset, frames, max_bytes), frames.segments, items, grid, max_bytes
            )
        segments = tuple(
            _segment(item, number, layer)
            for number, (item, layer) in enumerate(zip(items.values(), layer_of, strict=True), start=1)
        )
        return Mask(tuple(layers), segments, geometry)
    except PARSER_ERRORS as error:
        raise BadFile(f"the segmentation can't be read ({type(error).__name__})") from error


def _segment_items(dataset: Dataset) -> dict[int, Dataset]:
    """Segment items by number, ascending, without the background that a LABELMAP may describe (PS3.3 C.8.20.2)."""
    items = {int(item.SegmentNumber): item for item in dataset.SegmentSequence}
    if dataset.SegmentationType == "LABELMAP":
        items.pop(int(dataset.get("PixelPaddingValue") or 0), None)
    if not items or len(items) > 65535:
        raise BadFile(f"the segmentation describes {len(items)} segments")
    return dict(sorted(items.items()))


def _layer_type(items: Mapping[int, Dataset]) -> np.dtype[Any]:
    return np.dtype(np.uint8 if len(items) < 256 else np.uint16)


@dataclass(frozen=True, eq=False)
class _Grid:
    """The target grid: `starts` is the `(i, j, k)` of the frames' first voxels along the axes of `view`."""

    geometry: Geometry
    view: GridView
    starts: NDArray[np.int64]
    frame: tuple[int, int]
    dtype: np.dtype[Any]

    def empty(self) -> Layer:
        layer: Layer = np.zeros(self.geometry.shape, self.dtype)
        return layer

    def window(self, layer: Layer, frame: int) -> Layer:
        """A writable view of the voxels of a layer that a frame covers."""
        i, j, k = (int(n) for n in self.starts[frame])
        rows, columns = self.frame
        return self.view.of(layer)[k, j : j + rows, i : i + columns]


def _labelmap(frames: Iterator[NDArray[np.integer]], numbers: Sequence[int], grid: _Grid) -> Layer:
    """The layer of a LABELMAP. `numbers` are the segments; other values become background."""
    layer = grid.empty()
    kept = list(numbers) == list(range(1, len(numbers) + 1))
    lookup = np.zeros(1 << 16, grid.dtype)
    lookup[list(numbers)] = np.arange(1, len(numbers) + 1)
    for number, values in enumerate(frames):
        window = grid.window(layer, number)
        plain = kept and int(values.max()) <= len(numbers)
        labels = values.astype(grid.dtype, copy=False) if plain else lookup[values]
        np.maximum(window, labels, out=window)
    return layer


def _layered(
    voxels: BinaryFrames,
    segment_of: NDArray[np.int64],
    items: Mapping[int, Dataset],
    grid: _Grid,
    max_bytes: int,
) -> tuple[list[Layer], list[int]]:
    """Layers without overlaps, and the layer of each segment."""
    unknown = set(segment_of.tolist()) - set(items)
    if unknown:
        raise BadFile(f"frames of the segmentation belong to segments that it doesn't describe: {sorted(unknown)[:8]}")
    layers, layer_of = [grid.empty()], []
    for new, old in enumerate(items, start=1):
        frames = [int(n) for n in np.flatnonzero(segment_of == old)]
        free = (n for n, layer in enumerate(layers) if not _overlaps(voxels, frames, layer, grid))
        chosen = next(free, len(layers))
        if chosen == len(layers):
            if (chosen + 1) * layers[0].nbytes > max_bytes:
                raise ResourceExhausted("the segmentation's segments overlap too often to be held in memory")
            layers.append(grid.empty())
        for frame in frames:
            window = grid.window(layers[chosen], frame)
            np.bitwise_or(window, voxels[frame] * grid.dtype.type(new), out=window)
        layer_of.append(chosen)
    return layers, layer_of


def _overlaps(voxels: BinaryFrames, frames: Sequence[int], layer: Layer, grid: _Grid) -> bool:
    """Whether the layer already has a segment at any voxel of these frames."""
    for frame in frames:
        window = grid.window(layer, frame)
        if window.any() and bool((window * voxels[frame]).any()):
            return True
    return False


def _segment(item: Dataset, number: int, layer: int) -> Segment:
    name = str(item.get("SegmentLabel") or f"Segment {number}")
    # SegmentLabel has at most 64 characters; our writer puts longer names into SegmentDescription.
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


def describe_all(dataset: Dataset, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
    """Add a segment "Segment n" for every undescribed value n of a LABELMAP; other segmentation types aren't changed.

    OHIF 3.13 can describe one segment and store two: its export lists only segments that it has a name for. No painted
    voxel may be lost because of that. Raises `BadFile`.
    """
    if dataset.get("SegmentationType") != "LABELMAP":
        return
    try:
        described = {int(item.SegmentNumber) for item in dataset.get("SegmentSequence") or ()}
        background = {0, int(dataset.get("PixelPaddingValue") or 0)}
        values: set[int] = set()
        for frame in decode_labels(dataset, max_bytes):
            values.update(np.unique(frame).tolist())
        missing = sorted(values - described - background)
        if missing:
            dataset.SegmentSequence = [*(dataset.get("SegmentSequence") or ()), *map(_undescribed, missing)]
    except PARSER_ERRORS as error:
        raise BadFile(f"the segmentation can't be read ({type(error).__name__})") from error


def _undescribed(number: int) -> Dataset:
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = f"Segment {number}"
    return item
