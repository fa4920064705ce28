"""One synthetic patient: a body with organs, as formulas over millimetres.

Formulas, not voxels, so that the same patient can be scanned on any grid (oblique, reversed, thicker slices) with an
exact ground truth. Coordinates are LPS: x to the patient's left, y to the back, z to the head, 0 in the centre. The
anatomy is not realistic: organs are roughly at their place and never touch each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from app.core.volume import Geometry
from app.demo.clicks import largest_piece

STRUCTURES = ("liver", "spleen", "left kidney", "right kidney")
"""The labelled structures; a labelmap's values are 1-based positions here."""

Points = NDArray[np.float32]
"""Positions `(3, k, j, i)`: x, y, z in mm."""

Distance = NDArray[np.float32]
"""The approximate signed distance of each voxel to a shape in mm, negative inside."""

AIR = -1000.0
GAP = 9.0
"""Millimetres of soft tissue between organs: more than two voxels, so that clicks are unambiguous."""

PHASES: Mapping[str, Mapping[str, float]] = {
    "non-contrast": {"liver": 75, "spleen": 135, "left kidney": 200, "right kidney": 200, "aorta": 50},
    "arterial": {"liver": 85, "spleen": 155, "left kidney": 225, "right kidney": 225, "aorta": 330},
    "portal venous": {"liver": 105, "spleen": 170, "left kidney": 240, "right kidney": 240, "aorta": 290},
}
"""HU by contrast phase. The differences are larger than in reality, so that organs are easy to separate."""

SOFT_TISSUE = 25.0
BONE = 450.0
FAT = -95.0


@dataclass(frozen=True)
class Ellipsoid:
    """Rotated about z by `turn` and then about x by `tilt` (radians)."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn: float = 0.0
    tilt: float = 0.0

    def distance(self, at: Points) -> Distance:
        x, y, z = (at[axis] - self.centre[axis] for axis in range(3))
        x, y = _turned(x, y, self.turn)
        y, z = _turned(y, z, self.tilt)
        a, b, c = self.radii
        # First order: the implicit function over its gradient's length, which is exact at the surface.
        value = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) + 1e-6
        slope = np.sqrt((x / a**2) ** 2 + (y / b**2) ** 2 + (z / c**2) ** 2) / value + 1e-6
        return np.asarray((value - 1) / slope, np.float32)


@dataclass(frozen=True)
class Tube:
    """A cylinder along z, without ends."""

    centre: tuple[float, float]
    radius: float

    def distance(self, at: Points) -> Distance:
        return np.asarray(np.hypot(at[0] - self.centre[0], at[1] - self.centre[1]) - self.radius, np.float32)


@dataclass(frozen=True)
class Wave:
    """A smooth deformation, so that patients have different outlines."""

    along: NDArray[np.float32]
    shift: NDArray[np.float32]
    phase: np.float32

    def at(self, points: Points) -> Points:
        x, y, z = (self.along[axis] * points[axis] for axis in range(3))
        return np.asarray(self.shift.reshape(3, 1, 1, 1) * np.sin(x + y + z + self.phase)[None], np.float32)


@dataclass(frozen=True)
class Anatomy:
    """`organs` are unions of ellipsoids by name; where they overlap, the first one wins."""

    body: Ellipsoid
    fat: float
    spine: Tube
    aorta: Tube
    organs: Mapping[str, tuple[Ellipsoid, ...]]
    waves: tuple[Wave, ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Anatomy:
        """A random patient."""

        def near(*values: float, spread: float = 5.0) -> tuple[float, float, float]:
            x, y, z = (float(value + rng.uniform(-spread, spread)) for value in values)
            return x, y, z

        def about(*values: float) -> tuple[float, float, float]:
            x, y, z = (float(value * rng.uniform(0.88, 1.12)) for value in values)
            return x, y, z

        liver = near(-66, -12, 34)
        organs = {
            "left kidney": (Ellipsoid(near(56, 44, -34), about(25, 23, 46), float(rng.uniform(-0.4, 0.4)), 0.15),),
            "right kidney": (Ellipsoid(near(-56, 46, -44), about(25, 23, 44), float(rng.uniform(-0.4, 0.4)), 0.15),),
            "spleen": (Ellipsoid(near(92, 28, 40), about(27, 42, 42), float(rng.uniform(-0.3, 0.3))),),
            "liver": (
                Ellipsoid(liver, about(60, 62, 58), float(rng.uniform(-0.3, 0.3))),
                Ellipsoid((liver[0] + 55, liver[1] - 32, liver[2] + 10), about(50, 30, 34)),
            ),
        }
        width, depth = float(rng.uniform(146, 158)), float(rng.uniform(104, 116))
        return cls(
            body=Ellipsoid((0, 0, 0), (width, depth, 900)),
            fat=float(rng.choice([0.0, 9.0, 14.0])),
            spine=Tube((float(rng.uniform(-4, 4)), 70.0), float(rng.uniform(17, 21))),
            aorta=Tube((14.0, 36.0), float(rng.uniform(9, 12))),
            organs=organs,
            waves=tuple(_wave(rng) for _ in range(5)),
        )

    def scan(
        self, geometry: Geometry, phase: str, noise: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """A CT of this patient on a grid, and its ground truth.

        Returns HU `(k, j, i)` within -1024..3071 and a labelmap `(k, j, i)` of `STRUCTURES`. Each structure is one
        connected piece. `noise` is the standard deviation in HU.
        """
        points = _positions(geometry)
        bent = points + sum((wave.at(points) for wave in self.waves), np.zeros(1, np.float32))
        skin = self.body.distance(bent)
        spine, aorta = self.spine.distance(bent), self.aorta.distance(bent)
        taken = np.minimum(np.minimum(spine, aorta), -skin - self.fat)
        label = np.zeros(geometry.shape, np.uint8)
        for name, parts in self.organs.items():
            organ = np.minimum.reduce([part.distance(bent) for part in parts])
            inside = largest_piece((organ <= 0) & (taken > GAP))
            label[inside] = STRUCTURES.index(name) + 1
            taken = np.minimum(taken, organ)
        hu = np.full(geometry.shape, AIR, np.float32)
        hu[skin <= 0] = FAT
        hu[skin <= -self.fat] = SOFT_TISSUE
        hu[(spine <= 0) & (skin <= 0)] = BONE
        hu[(aorta <= 0) & (skin <= 0)] = PHASES[phase]["aorta"]
        for value, name in enumerate(STRUCTURES, start=1):
            hu[label == value] = PHASES[phase][name] + rng.uniform(-8, 8)
        hu = ndimage.gaussian_filter(hu, [0.3, 0.5, 0.5])
        hu += noise * rng.standard_normal(geometry.shape, np.float32)
        return np.clip(np.round(hu), -1024, 3071).astype(np.int16), label


def _turned(x: Distance, y: Distance, angle: float) -> tuple[Distance, Distance]:
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _wave(rng: np.random.Generator) -> Wave:
    direction = rng.normal(size=3)
    length = rng.uniform(90, 220)
    return Wave(
        along=(direction / np.linalg.norm(direction) * 2 * np.pi / length).astype(np.float32),
        shift=rng.uniform(-3.5, 3.5, 3).astype(np.float32),
        phase=np.float32(rng.uniform(0, 2 * np.pi)),
    )


def _positions(geometry: Geometry) -> Points:
    k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in geometry.shape), indexing="ij", sparse=True)
    affine = geometry.affine.astype(np.float32)
    return np.stack([affine[x, 0] * i + affine[x, 1] * j + affine[x, 2] * k + affine[x, 3] for x in range(3)])
