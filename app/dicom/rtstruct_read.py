"""A DICOM RT Structure Set of any writer -> a Mask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from app.core.mask import Algorithm, Mask, Segment
from app.core.volume import Geometry
from app.dicom.outlines import Points, filled
from app.dicom.parsing import PARSER_ERRORS
from app.errors import BadFile, GeometryMismatch, ResourceExhausted, SegloopError
from app.formats.volume_header import DEFAULT_MAX_BYTES

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OFF_SLICE = 0.1
"""How far outlines may lie from a slice, as a part of the distance between slices."""
_Planes = Mapping[int, NDArray[np.bool_]]


def referenced_series(dataset: Dataset) -> str:
    """The UID of the series that a structure set was drawn on; "" if it doesn't say it."""
    try:
        frame = dataset.ReferencedFrameOfReferenceSequence[0]
        return str(frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID)
    except PARSER_ERRORS:
        return ""


def read_rtstruct(dataset: Dataset, geometry: Geometry, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Mask:
    """The voxels whose centres lie in the outlines (`app.dicom.outlines.filled`): one outline within another is a hole.

    A region of points only is left out; one without outlines is an empty segment. What reaches outside of the image is
    cut off. Regions that overlap are in different layers. Raises `BadFile` (also for outlines that aren't closed),
    `GeometryMismatch` (an outline isn't on one of the slices) and `ResourceExhausted`.
    """
    try:
        regions = {int(item.ROINumber): item for item in dataset.StructureSetROISequence}
        drawn = {int(item.ReferencedROINumber): item for item in dataset.get("ROIContourSequence") or ()}
        kept = {
            number: list(drawn[number].get("ContourSequence") or ()) if number in drawn else [] for number in regions
        }
        kept = {n: some for n, some in kept.items() if not some or {c.ContourGeometricType for c in some} != {"POINT"}}
        if not kept or len(kept) > 65535:
            raise BadFile("the structure set has no regions of interest")
        planes = [_planes(str(regions[n].get("ROIName", "")), some, geometry) for n, some in kept.items()]
        layers, layer_of = _layered(planes, geometry, max_bytes)
        segments = [
            _segment(regions[number], drawn.get(number), position, layer)
            for position, (number, layer) in enumerate(zip(kept, layer_of, strict=True), start=1)
        ]
        return Mask(tuple(layers), tuple(segments), geometry)
    except SegloopError:
        raise
    except PARSER_ERRORS as error:
        raise BadFile(f"the structure set can't be read ({type(error).__name__})") from error


def _planes(name: str, contours: Sequence[Dataset], geometry: Geometry) -> _Planes:
    """The voxels of a region, by slice."""
    inverse = np.linalg.inv(geometry.affine)
    by_slice: dict[int, list[Points]] = defaultdict(list)
    for contour in contours:
        if contour.ContourGeometricType not in _CLOSED:
            raise BadFile(f"the region {name!r} has outlines that aren't closed ({contour.ContourGeometricType})")
        points = np.asarray(contour.ContourData, np.float64).reshape(-1, 3)
        i, j, k = inverse[:3, :3] @ points.T + inverse[:3, 3:]
        at = round(float(np.median(k)))
        off = float(np.abs(k - at).max())
        if off > _OFF_SLICE:
            raise GeometryMismatch(
                f"an outline of {name!r} lies up to {off:.2f} slices away from the image's slice {at + 1}; outlines"
                " have to be on the slices of the image"
            )
        if not 0 <= at < geometry.shape[0]:
            raise GeometryMismatch(f"an outline of {name!r} lies outside of the image, before or after its slices")
        by_slice[at].append(np.stack([j, i], axis=1))
    return {k: filled(outlines, geometry.shape[1:]) for k, outlines in by_slice.items()}


def _layered(
    regions: Sequence[_Planes], geometry: Geometry, max_bytes: int
) -> tuple[list[NDArray[np.unsignedinteger]], list[int]]:
    """Layers without overlaps, and the layer of each region."""
    dtype: np.dtype[Any] = np.dtype(np.uint8 if len(regions) < 256 else np.uint16)
    layers: list[NDArray[np.unsignedinteger]] = [np.zeros(geometry.shape, dtype)]
    layer_of = []
    for number, planes in enumerate(regions, start=1):
        free = (n for n, layer in enumerate(layers) if not any(layer[k][voxels].any() for k, voxels in planes.items()))
        chosen = next(free, len(layers))
        if chosen == len(layers):
            if (chosen + 1) * layers[0].nbytes > max_bytes:
                raise ResourceExhausted("the structure set's regions overlap too often to be held in memory")
            layers.append(np.zeros(geometry.shape, dtype))
        for k, voxels in planes.items():
            layers[chosen][k][voxels] = number
        layer_of.append(chosen)
    return layers, layer_of


def _segment(region: Dataset, drawn: Dataset | None, number: int, layer: int) -> Segment:
    name = str(region.get("ROIName") or f"Segment {number}")
    # ROIName has at most 64 characters; our writer puts longer names into ROIDescription.
    whole = str(region.get("ROIDescription") or "")
    color = drawn.get("ROIDisplayColor") if drawn is not None else None
    algorithm = str(region.get("ROIGenerationAlgorithm") or "")
    red, green, blue = (int(part) for part in color) if color is not None and len(color) == 3 else (-1, 0, 0)
    return Segment(
        number=number,
        name=whole if len(name) == 64 and whole.startswith(name) else name,
        layer=layer,
        color=(red, green, blue) if red >= 0 else None,
        algorithm=cast(Algorithm, algorithm) if algorithm in get_args(Algorithm) else "SEMIAUTOMATIC",
    )
