"""Masks with known segments."""

from __future__ import annotations

import numpy as np

from app.core.mask import Mask, Segment
from app.core.volume import Geometry
from tests.dicom.synthetic import uid


def random_mask(geometry: Geometry, count: int, *, overlapping: bool = False, seed: int = 0) -> Mask:
    """`count` segments scattered over all slices but the first (and an empty one, the second, if there are three).

    `overlapping` adds one more, in a layer of its own.
    """
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if count < 255 else np.uint16
    labelmap = rng.integers(0, count + 1, geometry.shape).astype(dtype)
    if count >= 3:
        labelmap[labelmap == 2] = 0
    if geometry.shape[0] > 1:
        labelmap[0] = 0
    segments = [Segment(n, f"part {n}", color=(255, 8 * n % 256, 0)) for n in range(1, count + 1)]
    layers = [labelmap]
    if overlapping:
        segments.append(Segment(count + 1, "over", layer=1, algorithm="MANUAL", tracking_uid=uid("tracking", seed)))
        layers.append(((rng.random(geometry.shape) > 0.6) * (count + 1)).astype(dtype))
    return Mask(tuple(layers), tuple(segments), geometry)


def assert_same_voxels(found: Mask, expected: Mask) -> None:
    assert expected.geometry.difference(found.geometry) is None
    assert [s.name for s in found.segments] == [s.name for s in expected.segments]
    for segment in expected.segments:
        np.testing.assert_array_equal(found.voxels_of(segment.number), expected.voxels_of(segment.number))
