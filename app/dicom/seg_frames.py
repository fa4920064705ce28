"""The frames of a DICOM Segmentation: voxels and positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from app.core.volume import Geometry
from app.dicom.decoding import decode
from app.dicom.planes import items_of, orientation_of, pixel_spacing_of, position_of
from app.dicom.values import integer
from app.errors import BadFile, GeometryMismatch
from app.formats.grids import GridView, view_along

ON_GRID = 0.05
"""The largest distance of a frame's corners from voxel centres of the case, in voxels: positions are often rounded."""

_SHARED, _PER_FRAME = Tag("SharedFunctionalGroupsSequence"), Tag("PerFrameFunctionalGroupsSequence")
_IDENTIFICATION, _SEGMENT = Tag("SegmentIdentificationSequence"), Tag("ReferencedSegmentNumber")


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one orientation.

    `positions` `(frames, 3)` and the steps between columns and between rows are LPS mm. `segments` has the segment
    number of each frame, None for a labelmap (its voxels are the numbers).
    """

    rows: int
    columns: int
    positions: NDArray[np.float64]
    i_step: NDArray[np.float64]
    j_step: NDArray[np.float64]
    slice_step: float | None
    segments: NDArray[np.int64] | None

    @property
    def normal(self) -> NDArray[np.float64]:
        cross = np.cross(self.i_step, self.j_step)
        return np.asarray(cross / np.linalg.norm(cross))


def frames_of(dataset: Dataset) -> Frames:
    """The positions of the frames (DICOM PS3.3 C.7.6.16). Raises `BadFile`, `UnusableSeries`."""
    per_frame = items_of(dataset, _PER_FRAME)
    if not per_frame or len(per_frame) != int(dataset.NumberOfFrames):
        raise BadFile(f"the segmentation has {dataset.NumberOfFrames} frames and describes {len(per_frame)}")
    common = (*items_of(dataset, _SHARED)[:1], dataset)
    labelmap = dataset.SegmentationType == "LABELMAP"
    orientation = np.array(orientation_of((per_frame[0], *common)))
    (row_spacing, column_spacing), _ = pixel_spacing_of((per_frame[0], *common))
    positions, segments = [], []
    for frame in per_frame:
        headers = (frame, *common)
        if not np.allclose(orientation_of(headers), orientation, atol=1e-4):
            raise BadFile("the segmentation's frames lie in different orientations")
        positions.append(position_of(headers))
        if not labelmap:
            segments.append(_segment_of(headers))
    return Frames(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        positions=np.array(positions),
        i_step=orientation[:3] * column_spacing,
        j_step=orientation[3:] * row_spacing,
        slice_step=_slice_step(common),
        segments=None if labelmap else np.array(segments),
    )


def binary_frames(dataset: Dataset, frames: Frames, max_bytes: int) -> BinaryFrames:
    """The frames of a BINARY or FRACTIONAL segmentation, with checked sizes. Raises `BadFile`."""
    pixels = frames.rows * frames.columns
    if len(frames.positions) * pixels > max_bytes:
        raise BadFile("the segmentation declares more voxels than this server takes")
    if dataset.SegmentationType == "FRACTIONAL":
        half = (int(dataset.MaximumFractionalValue) + 1) // 2
        return BinaryFrames(frames, None, decode(dataset, max_bytes).stored, half)
    if int(dataset.BitsAllocated) != 1:
        return BinaryFrames(frames, None, decode(dataset, max_bytes).stored, 1)
    if UID(dataset.file_meta.TransferSyntaxUID).is_compressed:
        raise BadFile("the segmentation has compressed 1-bit frames; store it uncompressed or as LABELMAP")
    needed = -(-len(frames.positions) * pixels // 8)
    if len(dataset.PixelData) < needed:
        raise BadFile(f"the segmentation declares {needed} bytes of pixels and has {len(dataset.PixelData)}")
    return BinaryFrames(frames, np.frombuffer(dataset.PixelData, np.uint8, needed), None, 1)


@dataclass(frozen=True, eq=False)
class BinaryFrames:
    """Voxels by frame, unpacked on access: from packed `bits`, or from `values` that are set from `threshold` on."""

    frames: Frames
    bits: NDArray[np.uint8] | None
    values: NDArray[np.integer] | None
    threshold: int

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """0/1 `(rows, columns)`."""
        shape = self.frames.rows, self.frames.columns
        if self.bits is None:
            assert self.values is not None  # noqa: S101 - one of the two is there
            return np.asarray(self.values[number] >= self.threshold).view(np.uint8)
        count = shape[0] * shape[1]
        first = number * count
        # Frames follow each other without padding, least significant bit first (DICOM PS3.5 8.1.1).
        data = self.bits[first // 8 : -(-(first + count) // 8)]
        unpacked: NDArray[np.uint8] = np.unpackbits(data, bitorder="little")
        return unpacked[first % 8 : first % 8 + count].reshape(shape)


def place(frames: Frames, geometry: Geometry) -> tuple[GridView, NDArray[np.int64]]:
    """A view of the case's grid along the frames' axes, and the `(i, j, k)` of each frame's first voxel in it.

    Raises `GeometryMismatch` if the frames' voxels aren't voxels of `geometry`.
    """
    view = view_along(geometry, frames.i_step, frames.j_step)
    if view is None:
        spacing = ", ".join(f"{np.linalg.norm(step):.4f}" for step in (frames.i_step, frames.j_step))
        raise GeometryMismatch(
            f"the segmentation's rows and columns ({spacing} mm apart) don't lie along the image's voxels"
            f" ({', '.join(f'{s:.4f}' for s in geometry.spacing)} mm)"
        )
    inverse = np.linalg.inv(view.geometry.affine)
    first = frames.positions @ inverse[:3, :3].T + inverse[:3, 3]
    across = inverse[:3, :3] @ (frames.i_step * (frames.columns - 1) + frames.j_step * (frames.rows - 1))
    start = np.rint(first)
    end = start + np.array([frames.columns - 1, frames.rows - 1, 0])
    off = np.maximum(np.abs(first - start), np.abs(first + across - end)).max(axis=1)
    worst = int(off.argmax())
    if off[worst] > ON_GRID:
        raise GeometryMismatch(
            f"frame {worst + 1} of the segmentation lies {off[worst]:.2f} voxels off the image's grid"
            f" (position {', '.join(f'{p:.3f}' for p in frames.positions[worst])} mm)"
        )
    size = np.array(view.geometry.shape[::-1])
    outside = (start < 0).any(axis=1) | (end >= size).any(axis=1)
    if outside.any():
        raise GeometryMismatch(
            f"{int(outside.sum())} frames of the segmentation lie outside of the image, the first at voxel"
            f" {tuple(int(v) for v in start[outside][0])} of {tuple(int(v) for v in size)} (columns, rows, slices)"
        )
    return view, start.astype(np.int64)


def own_grid(frames: Frames) -> Geometry:
    """The smallest regular grid that contains all frames. Raises `GeometryMismatch`."""
    along = frames.positions @ frames.normal
    order = np.argsort(along)
    gaps = np.diff(along[order])
    gaps = gaps[gaps > 1e-3]
    step = float(gaps.min()) if len(gaps) else frames.slice_step or 1.0
    if frames.slice_step and len(gaps) and abs(step / frames.slice_step - np.rint(step / frames.slice_step)) < ON_GRID:
        step /= max(1.0, float(np.rint(step / frames.slice_step)))
    first, last = frames.positions[order[0]], frames.positions[order[-1]]
    count = round(float(along.max() - along.min()) / step) + 1
    if count > 1 << 16:
        raise GeometryMismatch(f"the segmentation's frames are {step:.4f} mm apart and span {count} slices")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = frames.i_step, frames.j_step
    affine[:3, 2] = (last - first) / (count - 1) if count > 1 else frames.normal * step
    affine[:3, 3] = first
    return Geometry((count, frames.rows, frames.columns), affine)


def _segment_of(headers: Sequence[Dataset]) -> int:
    for header in headers:
        for item in items_of(header, _IDENTIFICATION)[:1]:
            return integer(item, _SEGMENT)
    raise BadFile("a frame of the segmentation doesn't say which segment it belongs to")


def _slice_step(headers: Sequence[Dataset]) -> float | None:
    for header in headers:
        for measures in items_of(header, Tag("PixelMeasuresSequence"))[:1]:
            step = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
            if step:
                return abs(float(step))
    return None
