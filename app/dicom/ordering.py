"""Planes in any order -> one regular stack with its grid, or an error that says what is wrong with the series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry
from app.dicom.planes import SAME_ORIENTATION, SPLIT_KEYWORDS, Plane
from app.errors import UnusableSeries

SAME_PLACE = 0.01
"""Planes closer than this (mm) have the same position."""

SPACING_TOLERANCE = 0.02
"""The largest deviation of a slice from the regular grid, in slice steps: positions are often rounded."""

SPACING_WARNING = 0.005
"""The largest deviation without a warning."""

_TILT = 1e-3  # radians between the slice step and row x column
_MAX_MISSING_SHARE = 0.25  # above this share of slices, the series is unevenly spaced rather than incomplete


@dataclass(frozen=True, eq=False)
class Stack:
    """Planes in slice order on a regular grid.

    `indices[n]` is the slice of `planes[n]`; slices without a plane are `missing`. `geometry` spans all of them.
    """

    planes: tuple[Plane, ...]
    indices: tuple[int, ...]
    missing: tuple[int, ...]
    geometry: Geometry
    warnings: tuple[str, ...]


def stack(planes: Sequence[Plane]) -> Stack:
    """Select the planes of the volume, order them by ImagePositionPatient projected on row x column (ascending), and
    compute the grid (DICOM PS3.3 C.7.6.2.1.1). Raises `UnusableSeries`."""
    if not planes:
        raise UnusableSeries("the series has no images")
    warnings = list(dict.fromkeys(w for plane in planes for w in plane.warnings))
    kept = _majority(planes, warnings)
    kept = _by_projection(kept)
    kept = _without_duplicates(kept, warnings)
    kept = _one_volume(kept, warnings)
    if len(kept) == 1:
        return _single(kept[0], warnings)
    indices, step = _grid_steps(kept, warnings)
    missing = tuple(sorted(set(range(indices[-1] + 1)) - set(indices)))
    geometry = _geometry(kept[0], step, indices[-1] + 1)
    tilt = _tilt(kept[0], step)
    if tilt > _TILT:
        warnings.append(
            f"gantry tilt: the slices are shifted by {np.degrees(tilt):.1f} degrees against each other;"
            " the grid is kept sheared, as it was acquired"
        )
    return Stack(tuple(kept), indices, missing, geometry, tuple(warnings))


def missing_text(missing: Sequence[int]) -> str:
    """Missing slices as text for users: counted from 1, consecutive ones grouped."""
    runs: list[list[int]] = []
    for index in missing:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{len(run)} after slice {run[0]}" for run in runs[:8]) + (" ..." if len(runs) > 8 else "")


def _majority(planes: Sequence[Plane], warnings: list[str]) -> list[Plane]:
    """The planes of the most frequent size, pixel spacing and orientation, which excludes localisers."""
    groups: list[list[Plane]] = []
    for plane in planes:
        for group in groups:
            if _same_grid(group[0], plane):
                group.append(plane)
                break
        else:
            groups.append([plane])
    groups.sort(key=len, reverse=True)
    if len(groups) > 1:
        if len(groups[0]) * 2 <= len(planes):
            sizes = ", ".join(str(len(group)) for group in groups)
            raise UnusableSeries(
                f"the images have {len(groups)} different orientations, sizes or pixel spacings ({sizes} images) and"
                " none has the majority; this looks like a localiser, or several series in one: split the series"
            )
        strays = len(planes) - len(groups[0])
        warnings.append(f"{strays} images of another orientation, size or pixel spacing were left out (localisers?)")
    return groups[0]


def _same_grid(a: Plane, b: Plane) -> bool:
    return (
        a.stored.shape == b.stored.shape
        and all(abs(m - n) <= 1e-3 * m for m, n in zip(a.pixel_spacing, b.pixel_spacing, strict=True))
        and all(abs(m - n) < SAME_ORIENTATION for m, n in zip(a.orientation, b.orientation, strict=True))
    )


def _by_projection(planes: Sequence[Plane]) -> list[Plane]:
    normal = planes[0].normal
    # The instance UID breaks ties, so the result doesn't depend on the order of arrival.
    return sorted(planes, key=lambda p: (round(float(normal @ p.position), 4), p.mark("SOPInstanceUID"), p.frame))


def _without_duplicates(planes: Sequence[Plane], warnings: list[str]) -> list[Plane]:
    kept: list[Plane] = []
    dropped = 0
    for place in _places(planes):
        for number, plane in enumerate(place):
            if any(_same_image(plane, other) for other in place[:number]):
                dropped += 1
            else:
                kept.append(plane)
    if dropped:
        warnings.append(f"{dropped} images that are exact duplicates of others were left out")
    return kept


def _same_image(a: Plane, b: Plane) -> bool:
    return (a.slope, a.intercept) == (b.slope, b.intercept) and bool(np.array_equal(a.stored, b.stored))


def _places(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Ordered planes, grouped by position."""
    places: list[list[Plane]] = []
    for plane in planes:
        if places and math.dist(plane.position, places[-1][0].position) < SAME_PLACE:
            places[-1].append(plane)
        else:
            places.append([plane])
    return places


def _one_volume(planes: list[Plane], warnings: list[str]) -> list[Plane]:
    """If different images have the same position: the first of the volumes that a header attribute separates."""
    places = _places(planes)
    most = max(len(place) for place in places)
    if most == 1:
        return planes
    for count in (1, 2):
        for marks in combinations(SPLIT_KEYWORDS, count):
            volumes = _split(planes, marks)
            if len(volumes) == most and all(_fills(volume, places) for volume in volumes.values()):
                names = sorted(volumes, key=_natural)
                warnings.append(
                    f"the series holds {most} volumes that differ in {' and '.join(marks)}; the first"
                    f" ({_named(names[0])}) was taken, left out: {'; '.join(_named(n) for n in names[1:9])}"
                    + (" ..." if most > 9 else "")
                )
                return volumes[names[0]]
    several = sum(len(place) > 1 for place in places)
    raise UnusableSeries(
        f"at {several} of {len(places)} places lie different images, and no attribute (echo, time point, acquisition)"
        " splits the series into complete volumes; split the series before labelling it"
    )


def _split(planes: Sequence[Plane], marks: Sequence[str]) -> dict[tuple[str, ...], list[Plane]]:
    volumes: dict[tuple[str, ...], list[Plane]] = {}
    for plane in planes:
        volumes.setdefault(tuple(plane.mark(mark) for mark in marks), []).append(plane)
    return volumes


def _fills(volume: Sequence[Plane], places: Sequence[Sequence[Plane]]) -> bool:
    """Whether a volume has exactly one plane at each position."""
    return len(volume) == len(places) and all(
        math.dist(plane.position, place[0].position) < SAME_PLACE for plane, place in zip(volume, places, strict=True)
    )


def _natural(key: tuple[str, ...]) -> tuple[tuple[int, float, str], ...]:
    """A sort key that orders numbers numerically, before texts."""
    parts = []
    for text in key:
        try:
            parts.append((0, float(text), ""))
        except ValueError:
            parts.append((1, 0.0, text))
    return tuple(parts)


def _named(key: tuple[str, ...]) -> str:
    return ", ".join(part[:64] or "none" for part in key)


def _grid_steps(planes: Sequence[Plane], warnings: list[str]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """The slice index of each plane and the step (mm, LPS) from one slice to the next."""
    positions = np.array([plane.position for plane in planes])
    projections = positions @ planes[0].normal
    gaps = np.diff(projections)
    if float(gaps.min()) < SAME_PLACE:
        raise UnusableSeries("several images lie in the same plane; a volume needs one image per slice")
    usual = float(np.median(gaps))
    # Gap by gap, so that rounding of the usual gap doesn't accumulate over hundreds of slices.
    counts = np.maximum(1, np.rint(gaps / usual)).astype(int)
    indices = np.concatenate([[0], np.cumsum(counts)])
    last = int(indices[-1])
    absent = last + 1 - len(planes)
    step = (positions[-1] - positions[0]) / last
    off = np.linalg.norm(positions - (positions[0] + indices[:, None] * step), axis=1) / np.linalg.norm(step)
    if float(off.max()) > SPACING_TOLERANCE or absent > _MAX_MISSING_SHARE * (last + 1):
        spacings = ", ".join(f"{gap:.3f}" for gap in sorted(set(np.round(gaps, 3)))[:8])
        raise UnusableSeries(
            f"the slices are unevenly spaced (mm between neighbours: {spacings}); resample the series to even spacing,"
            " or split it where the spacing changes"
        )
    if float(off.max()) > SPACING_WARNING:
        warnings.append(
            f"slice positions are off an even spacing of {np.linalg.norm(step):.4f} mm by up to"
            f" {float(off.max()) * 100:.1f} % of a slice; the even spacing is used"
        )
    return tuple(int(n) for n in indices), np.asarray(step)


def _tilt(plane: Plane, step: NDArray[np.float64]) -> float:
    across = step - (step @ plane.normal) * plane.normal
    return float(np.arctan2(np.linalg.norm(across), abs(step @ plane.normal)))


def _single(plane: Plane, warnings: list[str]) -> Stack:
    thickness = plane.step
    if thickness is None:
        thickness = 1.0
        warnings.append("the only slice doesn't say how thick it is; 1 mm was taken")
    warnings.append("the series has a single slice")
    return Stack((plane,), (0,), (), _geometry(plane, plane.normal * thickness, 1), tuple(warnings))


def _geometry(first: Plane, step: NDArray[np.float64], slices: int) -> Geometry:
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.orientation[:3], first.pixel_spacing[1])
    affine[:3, 1] = np.multiply(first.orientation[3:], first.pixel_spacing[0])
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    rows, columns = first.stored.shape
    return Geometry((slices, rows, columns), affine)
