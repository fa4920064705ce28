"""Procedurally made test volumes: solid objects of one intensity each, in noise, with their label map.

All arrays are in voxel order (k, j, i). Two scenes exist: ``plain`` (isotropic, objects brighter or darker than a
noisy background) and ``ct`` (Hounsfield units: air around an elliptical body, a bright spine, organs of low contrast,
slices thicker than the in-plane pixels). Two disjoint families of shapes exist, one to train on and one held out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Rng = np.random.Generator

TRAINING_SHAPES = ("ellipsoid", "lobed", "box", "short_tube", "chain")
HELD_OUT_SHAPES = ("superquadric", "torus", "long_tube", "union")

MIN_OBJECT_VOXELS = 100
AIR_HU = -1000.0


@dataclass(frozen=True)
class Phantom:
    """One volume: ``image`` float32 (k, j, i), ``labels`` uint8 (k, j, i) with 1..n objects, one shape name each.

    Label 1 is the object that was asked for; the others are bystanders.
    """

    image: FloatArray
    labels: NDArray[np.uint8]
    shapes: tuple[str, ...]


def _random_rotation(rng: Rng) -> FloatArray:
    """A random orthogonal matrix, (3, 3)."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q.astype(np.float32)


def _smooth_field(rng: Rng, shape: tuple[int, int, int], knots: int = 4) -> FloatArray:
    """Low-frequency noise of about unit size on a (k, j, i) grid, interpolated from ``knots`` per axis."""
    coarse = rng.normal(0, 1, (knots, knots, knots)).astype(np.float32)
    fine = ndimage.zoom(coarse, [n / knots for n in shape], order=1, grid_mode=True, mode="nearest")
    return np.asarray(fine, np.float32)


def _ellipsoid(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    scale = (radius * rng.uniform(0.65, 1.4, 3)).astype(np.float32).reshape(3, 1, 1, 1)
    return np.asarray(((u / scale) ** 2).sum(0) <= 1)


def _lobed(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    distance = np.sqrt((u**2).sum(0)) + 1e-3
    reach = np.full(distance.shape, 0.75, np.float32)
    for _ in range(rng.integers(2, 5)):
        axis = _random_rotation(rng)[0]
        reach += 0.5 * np.clip(np.tensordot(axis, u, axes=1) / distance, 0, None) ** 6
    return np.asarray(distance <= radius * reach)


def _box(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    scale = (radius * rng.uniform(0.6, 1.1, 3)).astype(np.float32).reshape(3, 1, 1, 1)
    return np.asarray(np.abs(u / scale).max(0) <= 1)


def _short_tube(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    half_length = rng.uniform(0.8, 1.3) * radius
    thickness = max(3.0, rng.uniform(0.3, 0.55) * radius)
    along = np.clip(np.abs(u[0]) - half_length, 0, None)
    return np.asarray(along**2 + u[1] ** 2 + u[2] ** 2 <= thickness**2)


def _chain(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    """Straight pieces of one thickness, joined end to end at any angle; about twice as long as ``radius``."""
    thickness = rng.uniform(3.0, 5.5)
    count = int(rng.integers(2, 6))
    joints = [np.zeros(3, np.float32)]
    for _ in range(count):
        joints.append(joints[-1] + _random_rotation(rng)[0] * radius * rng.uniform(0.5, 1.1))
    inside = np.zeros(u.shape[1:], bool)
    middle = np.mean(joints, axis=0)
    for start, end in pairwise(joint - middle for joint in joints):
        offset = u - start.reshape(3, 1, 1, 1)
        way = end - start
        along = np.clip(np.tensordot(way, offset, axes=1) / (way @ way), 0, 1)
        inside |= ((offset - way.reshape(3, 1, 1, 1) * along) ** 2).sum(0) <= thickness**2
    return inside


def _superquadric(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    exponent = rng.uniform(1.0, 1.5) if rng.random() < 0.5 else rng.uniform(3.0, 5.0)
    scale = (radius * rng.uniform(0.8, 1.3, 3)).astype(np.float32).reshape(3, 1, 1, 1)
    return np.asarray((np.abs(u / scale) ** exponent).sum(0) <= 1)


def _torus(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    tube = max(3.0, rng.uniform(0.28, 0.38) * radius)
    ring = np.sqrt(u[0] ** 2 + u[1] ** 2) - (radius - tube)
    return np.asarray(ring**2 + u[2] ** 2 <= tube**2)


def _long_tube(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    """A tube along a bent curve of about 2 ``radius`` end to end; ``u`` spans a cube of at least that size."""
    bend = rng.uniform(0.3, 0.8, 2) * radius
    t = np.linspace(-1, 1, 72, dtype=np.float32)
    curve = np.stack([radius * t, bend[0] * (1 - t**2), bend[1] * np.sin(2.2 * t)])
    thickness = rng.uniform(3.5, 6.0)
    near = np.zeros(u.shape[1:], bool)
    for point in curve.T:
        near |= ((u - point.reshape(3, 1, 1, 1)) ** 2).sum(0) <= thickness**2
    return near


def _union(rng: Rng, u: FloatArray, radius: float) -> BoolArray:
    offset = (_random_rotation(rng)[0] * radius * 0.55).reshape(3, 1, 1, 1).astype(np.float32)
    second = _superquadric if rng.random() < 0.5 else _box
    return _ellipsoid(rng, u - offset, radius * 0.7) | second(rng, u + offset, radius * 0.7)


_SHAPES: dict[str, Callable[[Rng, FloatArray, float], BoolArray]] = {
    "ellipsoid": _ellipsoid,
    "lobed": _lobed,
    "box": _box,
    "short_tube": _short_tube,
    "chain": _chain,
    "superquadric": _superquadric,
    "torus": _torus,
    "long_tube": _long_tube,
    "union": _union,
}


def _place(
    rng: Rng,
    free: BoolArray,
    shape: str,
    radius: float,
    spacing: tuple[float, float, float],
) -> tuple[tuple[slice, slice, slice], BoolArray] | None:
    """Try to put one object at a random free place of a (k, j, i) volume.

    ``radius`` is in voxels of the finest axis, ``spacing`` relative to it. Returns the window and the object's mask
    in it, or None if it hits something else or would be cut away mostly.
    """
    spacing_array = np.asarray(spacing, np.float32)
    reach = np.ceil(1.6 * radius / spacing_array).astype(int) + 2
    size = np.asarray(free.shape)
    margin = np.minimum(0.8 * radius / spacing_array, 0.45 * size)
    centre = rng.uniform(margin, size - margin)
    low = np.maximum(0, np.floor(centre - reach).astype(int))
    high = np.minimum(size, np.ceil(centre + reach).astype(int))
    window = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    rotation = _random_rotation(rng)
    seed = int(rng.integers(2**32))

    def draw(step: int, wobble: float) -> BoolArray:
        """The object's mask in the window, on every ``step``-th voxel, the same shape on every call."""
        axes = [np.arange(a, b, step, dtype=np.float32) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"))
        grid = (grid - centre.astype(np.float32).reshape(3, 1, 1, 1)) * spacing_array.reshape(3, 1, 1, 1)
        if wobble:
            local_shape = (grid.shape[1], grid.shape[2], grid.shape[3])
            grid += wobble * np.stack([_smooth_field(rng, local_shape) for _ in range(3)])
        return _SHAPES[shape](np.random.default_rng(seed), np.tensordot(rotation, grid, axes=1), radius)

    if not free[window][::3, ::3, ::3][draw(3, 0.0)].all():
        return None
    mask = draw(1, rng.uniform(0, 0.18) * radius)
    parts, count = ndimage.label(mask)
    if count == 0:
        return None
    if count > 1:
        mask = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    if int(mask.sum()) < MIN_OBJECT_VOXELS or not free[window][mask].all():
        return None
    return window, mask


def _scatter(
    rng: Rng,
    free: BoolArray,
    shapes: tuple[str, ...],
    count: int,
    draw_radius: Callable[[Rng, str], float],
    spacing: tuple[float, float, float],
    first: tuple[str, tuple[float, float]] | None = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Put up to ``count`` objects into the free space, two voxels apart at least; returns labels and shape names.

    ``first`` asks for one shape with an equivalent-sphere radius in a given range as label 1. ``free`` is used up.
    """
    labels = np.zeros(free.shape, np.uint8)
    names: list[str] = []
    for _ in range(count * 4 + (60 if first else 0)):
        if len(names) == count:
            break
        if first and not names:
            shape, (low, high) = first
            radius = rng.uniform(low, 1.4 * high) if shape != "long_tube" else rng.uniform(22, 34)
        else:
            shape = str(rng.choice(shapes))
            radius = draw_radius(rng, shape)
        placed = _place(rng, free, shape, radius, spacing)
        if placed is None:
            continue
        window, mask = placed
        if first and not names:
            equivalent = (float(mask.sum()) * float(np.prod(spacing)) * 0.75 / np.pi) ** (1 / 3)
            if not first[1][0] <= equivalent <= first[1][1]:
                continue
        names.append(shape)
        labels[window][mask] = len(names)
        occupied = np.zeros(free.shape, bool)
        occupied[window] = mask
        grown = tuple(slice(max(0, w.start - 2), w.stop + 2) for w in window)
        free[grown] &= ~ndimage.binary_dilation(occupied[grown], iterations=2)
    return labels, names


def _plain_radius(rng: Rng, shape: str) -> float:
    """Radius of a bystander or training object: half of them small (4 to 9 voxels)."""
    if shape in ("long_tube", "chain"):
        return float(rng.uniform(20, 34))
    if shape == "torus":
        return float(rng.uniform(10, 18))
    return float(rng.uniform(4, 9)) if rng.random() < 0.5 else float(rng.uniform(9, 24))


def plain_phantom(
    rng: Rng,
    shapes: tuple[str, ...] = TRAINING_SHAPES,
    size: int = 96,
    first: tuple[str, tuple[float, float]] | None = None,
) -> Phantom:
    """An isotropic cube: bright and dark objects on a noisy background with a slight gradient."""
    cube = (size, size, size)
    count = int(rng.integers(4, 10))
    labels, names = _scatter(rng, np.ones(cube, bool), shapes, count, _plain_radius, (1.0, 1.0, 1.0), first)
    levels = np.zeros(len(names) + 1, np.float32)
    levels[1:] = rng.choice([-1, 1], len(names), p=[0.25, 0.75]) * rng.uniform(0.7, 2.0, len(names))
    image = ndimage.gaussian_filter(levels[labels], rng.uniform(0.3, 1.0))
    image += rng.uniform(0.05, 0.15) * _smooth_field(rng, cube, 6)
    image += rng.uniform(0, 0.6) * ndimage.gaussian_filter(rng.normal(0, 1, cube).astype(np.float32), 1.0)
    image += rng.uniform(0.1, 0.4) * rng.normal(0, 1, cube).astype(np.float32)
    slopes = rng.normal(0, 0.3, 3).astype(np.float32)
    for axis, slope in enumerate(slopes):
        ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32) * slope
        image += ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    return Phantom(image.astype(np.float32), labels, tuple(names))


def _ct_radius(rng: Rng, shape: str) -> float:
    """Radius of an organ in in-plane voxels."""
    if shape in ("long_tube", "chain"):
        return float(rng.uniform(18, 28))
    if shape == "torus":
        return float(rng.uniform(11, 18))
    return float(rng.uniform(5, 22))


def ct_phantom(
    rng: Rng,
    shapes: tuple[str, ...] = TRAINING_SHAPES,
    first: tuple[str, tuple[float, float]] | None = None,
) -> Phantom:
    """A CT-like scene in Hounsfield units: air, body, spine and sometimes lungs (labelled too), organs, noise.

    Between 36 and 72 slices of 88 to 128 pixels squared, the slices 1 to 3 times as thick as the pixels.
    """
    in_plane = int(rng.integers(88, 129))
    shape = (int(rng.integers(36, 73)), in_plane, in_plane)
    spacing = (float(rng.uniform(1.0, 3.0)), 1.0, 1.0)
    rows = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
    columns = np.linspace(-1, 1, shape[2], dtype=np.float32)[None, None, :]
    slices = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None]
    half_j, half_i = rng.uniform(0.55, 0.8), rng.uniform(0.75, 0.95)
    taper = 1 + rng.uniform(0, 0.12) * slices
    inside = (rows / half_j) ** 2 + (columns / half_i) ** 2
    body = inside <= taper**2
    spine_radius = rng.uniform(0.08, 0.14)
    spine = (rows - half_j * rng.uniform(0.55, 0.7)) ** 2 + columns**2 + 0 * slices <= spine_radius**2
    free = (inside <= (taper * 0.93) ** 2) & ~ndimage.binary_dilation(spine, iterations=2)
    labels, names = _scatter(rng, free, shapes, int(rng.integers(3, 8)), _ct_radius, spacing, first)
    body_level = rng.uniform(20, 60)
    levels = np.empty(len(names) + 1, np.float32)
    levels[0] = body_level
    levels[1:] = body_level + rng.uniform(20, 160, len(names))
    dark = rng.random(len(names)) < 0.1
    levels[1:][dark] = body_level - rng.uniform(40, 150, int(dark.sum()))
    image = np.where(body, levels[labels], np.float32(AIR_HU)).astype(np.float32)
    image[spine & body] = rng.uniform(250, 700)
    labels[spine & body] = len(names) + 1
    names.append("spine")
    if rng.random() < 0.3:
        image[body & (inside > (taper * 0.93) ** 2)] = rng.uniform(-110, -60)
    sigma = rng.uniform(0.3, 0.8)
    image = ndimage.gaussian_filter(image, [sigma / spacing[0], sigma, sigma])
    image += rng.uniform(8, 16) * rng.normal(0, 1, shape).astype(np.float32)
    return Phantom(np.round(image).astype(np.float32), labels, tuple(names))


def training_phantom(rng: Rng) -> Phantom:
    """A random training volume: two in five CT-like, the axes of a few of those shuffled."""
    if rng.random() < 0.6:
        return plain_phantom(rng)
    phantom = ct_phantom(rng)
    if rng.random() < 0.7:
        return phantom
    order = rng.permutation(3)
    return Phantom(
        np.ascontiguousarray(phantom.image.transpose(order)),
        np.ascontiguousarray(phantom.labels.transpose(order)),
        phantom.shapes,
    )


@dataclass(frozen=True)
class HeldOutKind:
    """One group of the held-out set: its name, how many cases, and a generator of one case."""

    name: str
    count: int
    make: Callable[[Rng], Phantom]


def held_out_kinds(size: int = 128) -> list[HeldOutKind]:
    """The held-out set: shapes never trained on, more than a third of the isotropic ones small or tubes."""
    plain = partial(plain_phantom, shapes=HELD_OUT_SHAPES, size=size)

    def mixed_ct(rng: Rng) -> Phantom:
        shape = str(rng.choice(["superquadric", "union", "torus"]))
        return ct_phantom(rng, shapes=HELD_OUT_SHAPES, first=(shape, (6.0, 20.0)))

    return [
        HeldOutKind("small superquadric", 10, partial(plain, first=("superquadric", (4.0, 8.0)))),
        HeldOutKind("small union", 10, partial(plain, first=("union", (4.0, 8.0)))),
        HeldOutKind("long tube", 12, partial(plain, first=("long_tube", (7.0, 15.0)))),
        HeldOutKind("torus", 8, partial(plain, first=("torus", (6.0, 16.0)))),
        HeldOutKind("superquadric", 10, partial(plain, first=("superquadric", (8.0, 22.0)))),
        HeldOutKind("union", 10, partial(plain, first=("union", (8.0, 22.0)))),
        HeldOutKind("ct", 20, mixed_ct),
    ]


def normalise(image: FloatArray) -> FloatArray:
    """Z-score over the bounding box of the non-zero voxels, as nnInteractive does before it sees an image."""
    box = ndimage.find_objects((image != 0).astype(np.uint8))[0]
    crop = image[box]
    return np.asarray((image - crop.mean()) / crop.std(ddof=1), np.float32)
