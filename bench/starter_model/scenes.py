"""Made-up label maps to train on: packed cells, bodies with organs, bones and vessels, level sets, limbs.

A scene is a label map with the groups of labels that make one structure (a bone is its cortex and its marrow). All
arrays are in voxel order (k, j, i). `TRAINING_FAMILIES` are trained on; `HELD_OUT_FAMILIES` share neither shapes nor
arrangement with them and serve to choose between routes. Nothing here was taken from an image of a patient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Labels = NDArray[np.uint8]
Rng = np.random.Generator
Shape = tuple[int, int, int]

LARGEST_SHARE = 0.6
MIN_TARGET_VOXELS = 40


@dataclass
class Scene:
    """A label map under construction. ``air`` are the labels that hold no tissue, ``bone`` those of bone, ``fat`` of
    fat; ``groups`` the labels of each structure that can be asked for."""

    labels: Labels
    groups: list[tuple[int, ...]] = field(default_factory=list)
    air: list[int] = field(default_factory=list)
    bone: list[int] = field(default_factory=list)
    fat: list[int] = field(default_factory=list)

    def paint(self, mask: BoolArray, *, ask: bool = True) -> int:
        """Give a mask a new label; 0 if there is none left or nothing to paint."""
        number = int(self.labels.max()) + 1
        if number > 250 or not mask.any():
            return 0
        self.labels[mask] = number
        if ask:
            self.groups.append((number,))
        return number


def smooth_field(rng: Rng, shape: Sequence[int], size: float) -> FloatArray:
    """A random field (k, j, i) with zero mean and unit deviation that varies over about ``size`` voxels."""
    knots = [max(3, int(np.ceil(n / size)) + 2) for n in shape]
    coarse = rng.normal(size=knots).astype(np.float32)
    zoom = [n / (m - 1) for n, m in zip(shape, knots, strict=True)]
    fine = ndimage.zoom(coarse, zoom, order=1)[tuple(slice(n) for n in shape)]
    pad = [(0, n - m) for n, m in zip(shape, fine.shape, strict=True)]
    fine = np.pad(fine, pad, mode="edge")
    return np.asarray((fine - fine.mean()) / (fine.std() + 1e-6), np.float32)


def warped_grid(rng: Rng, shape: Shape, most: float) -> FloatArray:
    """Voxel positions (3, k, j, i), bent by up to a few times ``most`` voxels."""
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij"))
    strength = rng.uniform(0, most)
    if strength > 0.2:
        size = rng.uniform(8, 24)
        grid += strength * np.stack([smooth_field(rng, shape, size) for _ in range(3)])
    return grid


def random_rotation(rng: Rng) -> FloatArray:
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q.astype(np.float32)


def ellipsoid(rng: Rng, grid: FloatArray, centre: FloatArray, radii: FloatArray) -> FloatArray:
    """Squared distance from the centre in units of the radii, on randomly turned axes; inside is below 1."""
    offset = (grid - centre.reshape(3, 1, 1, 1)).reshape(3, -1)
    turned = (random_rotation(rng) @ offset) / radii.reshape(3, 1)
    return np.asarray((turned**2).sum(0).reshape(grid.shape[1:]), np.float32)


def near_curve(grid: FloatArray, points: FloatArray, radius: float | FloatArray) -> BoolArray:
    """Voxels within ``radius`` (one, or one a point) of a dense curve ``points`` (n, 3), looked for in its box only."""
    most = float(np.max(radius)) + 3
    shape = grid.shape[1:]
    low = np.maximum(0, np.floor(points.min(0) - most - 6)).astype(int)
    high = np.minimum(shape, np.ceil(points.max(0) + most + 6)).astype(int)
    mask = np.zeros(shape, bool)
    if (high <= low).any():
        return mask
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = grid[(slice(None), *box)]
    distance, nearest = cKDTree(points).query(part.reshape(3, -1).T, distance_upper_bound=most)
    limit = np.append(np.broadcast_to(radius, len(points)), 0.0)
    mask[box] = (distance <= limit[nearest]).reshape(part.shape[1:])
    return mask


def curve(rng: Rng, start: FloatArray, end: FloatArray, bend: float, count: int = 60) -> FloatArray:
    """A bent way (count, 3) from ``start`` to ``end``."""
    t = np.linspace(0, 1, count)[:, None]
    middle = (start + end) / 2 + rng.normal(0, bend, 3)
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end, np.float32)


def vessel_tree(rng: Rng, scene: Scene, grid: FloatArray, within: BoolArray | None = None) -> None:
    """A trunk with branches that grow thinner."""
    shape = np.array(grid.shape[1:], np.float32)
    radius = rng.uniform(1.2, 6)
    start, end = rng.uniform(-0.1, 1.1, (2, 3)) * shape
    mask = np.zeros(grid.shape[1:], bool)
    trunk = curve(rng, start, end, shape.mean() * rng.uniform(0.02, 0.3), 120)
    ways = [(trunk, radius)]
    for _ in range(int(rng.integers(0, 6))):
        way, thick = ways[rng.integers(len(ways))]
        root = way[rng.integers(len(way))]
        tip = root + rng.normal(0, shape.mean() * 0.3, 3)
        ways.append((curve(rng, root, tip, shape.mean() * 0.08), max(0.9, thick * rng.uniform(0.4, 0.9))))
    for way, thick in ways:
        mask |= near_curve(grid, way, np.linspace(thick, thick * rng.uniform(0.6, 1), len(way)))
    if within is not None:
        mask &= within
    scene.paint(mask)


def blob(rng: Rng, scene: Scene, grid: FloatArray, largest: float = 14) -> None:
    """An ellipsoid, a lobed body, a shell, or a body with a core."""
    shape = np.array(grid.shape[1:], np.float32)
    centre = (rng.uniform(0.05, 0.95, 3) * shape).astype(np.float32)
    radii = (np.exp(rng.uniform(np.log(1.8), np.log(largest))) * rng.uniform(0.6, 1.6, 3)).astype(np.float32)
    square = ellipsoid(rng, grid, centre, radii)
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.4 else 0):
        other = centre + rng.normal(0, 0.7, 3).astype(np.float32) * radii
        square = np.minimum(square, ellipsoid(rng, grid, other, radii * rng.uniform(0.5, 1.0)))
    kind = rng.random()
    inner = rng.uniform(0.3, 0.8)
    if kind < 0.6:
        scene.paint(square < 1)
    elif kind < 0.8:
        scene.paint((square < 1) & (square > inner))
    else:
        outer = scene.paint(square < 1)
        core = scene.paint(square < inner)
        if outer and core:
            scene.groups.append((outer, core))


def cells(rng: Rng, shape: Shape) -> Scene:
    """Space packed with warped cells, some merged, with blobs, tubes and vessels on top."""
    grid = warped_grid(rng, shape, 5)
    stretch = rng.uniform(0.5, 2.0, (3, 1)).astype(np.float32)
    count = int(rng.integers(3, 40))
    seeds = rng.uniform(-0.1, 1.1, (count, 3)) * np.array(shape) * stretch.T
    near = cKDTree(seeds).query((grid.reshape(3, -1) * stretch).T, k=2)
    owner = near[1][:, 0].reshape(shape)
    merged = np.arange(count)
    for _ in range(int(rng.integers(0, count // 4 + 1))):
        merged[rng.integers(count)] = merged[rng.integers(count)]
    scene = Scene((merged[owner] + 1).astype(np.uint8))
    scene.groups = [(int(n),) for n in np.unique(scene.labels)]
    if rng.random() < 0.4:  # thin septa of another tissue between the cells
        gap = (near[0][:, 1] - near[0][:, 0]).reshape(shape)
        scene.fat.append(scene.paint(gap < rng.uniform(0.8, 3.5), ask=False))
    for _ in range(int(rng.integers(0, 8))):
        blob(rng, scene, grid)
    for _ in range(int(rng.integers(0, 3))):
        vessel_tree(rng, scene, grid)
    if rng.random() < 0.35:
        centre = (rng.uniform(0.25, 0.75, 3) * np.array(shape)).astype(np.float32)
        radii = (rng.uniform(0.3, 0.6, 3) * np.array(shape)).astype(np.float32)
        outside = ellipsoid(rng, grid, centre, radii) > 1
        scene.air.append(scene.paint(outside, ask=False))
    return scene


def _spine(rng: Rng, scene: Scene, grid: FloatArray, centre: tuple[float, float], size: float) -> None:
    """Vertebrae with cortex and process along k, discs between them and the canal behind."""
    k, j, i = grid
    height = size * rng.uniform(0.9, 1.5)
    phase = rng.uniform(0, height)
    level = np.floor((k + phase) / height)
    along = (k + phase) / height - level
    body = ((j - centre[0]) / size) ** 2 + ((i - centre[1]) / (size * rng.uniform(1.0, 1.4))) ** 2
    behind = j - centre[0] - size * 1.35
    canal = (behind / (size * 0.42)) ** 2 + ((i - centre[1]) / (size * 0.5)) ** 2
    arch = (canal < 2.6) & (canal > 1) & (along > 0.3)
    process = (np.abs(i - centre[1]) < size * 0.18) & (behind > size * 0.4) & (behind < size * 1.5) & (along > 0.45)
    wings = (np.abs(behind + size * 0.1) < size * 0.22) & (np.abs(i - centre[1]) < size * 1.7) & (along > 0.55)
    solid = ((body < 1) & (along > 0.18)) | ((arch | process | wings) & (canal > 1))
    scene.paint((body < 0.9) & (along <= 0.18), ask=rng.random() < 0.3)
    scene.paint(canal < 1)
    marrow = ndimage.binary_erosion(solid, iterations=1) if rng.random() < 0.6 else np.zeros_like(solid)
    for number in np.unique(level):
        here = solid & (level == number)
        outer = scene.paint(here, ask=False)
        core = scene.paint(here & marrow, ask=False)
        scene.bone += [n for n in (outer,) if n]
        if outer:
            scene.groups.append((outer, core) if core else (outer,))


def _ribs(rng: Rng, scene: Scene, grid: FloatArray, body: tuple[FloatArray, FloatArray], depth: int) -> None:
    """Bent bars around the body, sloping down to the front."""
    centre, radii = body
    thick = rng.uniform(1.0, 2.6)
    step = thick * rng.uniform(3.5, 6)
    slope = rng.uniform(0, 1.2)
    for side in (-1, 1):
        level = rng.uniform(-step, step) - depth * 0.3
        while level < depth:
            angle = np.linspace(0.15, rng.uniform(1.8, 2.7), 70)
            points = np.stack(
                [
                    level + slope * step * angle,
                    centre[0] + radii[0] * 0.9 * np.cos(angle),
                    centre[1] + side * radii[1] * 0.9 * np.sin(angle),
                ],
                1,
            ).astype(np.float32)
            number = scene.paint(near_curve(grid, points, thick))
            if number:
                scene.bone.append(number)
            level += step


def _bowel(rng: Rng, scene: Scene, grid: FloatArray, inside: BoolArray) -> None:
    """A long winding tube with a wall and something else in it."""
    shape = np.array(grid.shape[1:], np.float32)
    radius = rng.uniform(2.0, 6.5)
    point = rng.uniform(0.2, 0.8, 3) * shape
    heading = rng.normal(size=3)
    points = []
    for _ in range(int(rng.integers(30, 140))):
        heading = heading * 0.8 + rng.normal(0, 0.6, 3) + 0.02 * (shape / 2 - point)
        heading /= np.linalg.norm(heading) + 1e-6
        point = point + heading * radius * 0.5
        points.append(point)
    way = np.asarray(points, np.float32)
    outer = scene.paint(near_curve(grid, way, radius) & inside, ask=False)
    core = scene.paint(near_curve(grid, way, radius * rng.uniform(0.4, 0.85)) & inside, ask=False)
    if outer and core:
        scene.groups.append((outer, core))
        if rng.random() < 0.3:
            scene.air.append(core)
    elif outer:
        scene.groups.append((outer,))


def _lungs(rng: Rng, scene: Scene, grid: FloatArray, body: tuple[FloatArray, FloatArray], depth: int) -> None:
    centre, radii = body
    top = rng.uniform(-0.6, 1.2) * depth
    for side in (-1, 1):
        at = np.array([top, centre[0], centre[1] + side * radii[1] * 0.45], np.float32)
        size = np.array([depth * rng.uniform(0.4, 0.9), radii[0] * 0.75, radii[1] * 0.42], np.float32)
        inside = (((grid - at.reshape(3, 1, 1, 1)) / size.reshape(3, 1, 1, 1)) ** 2).sum(0) < 1
        number = scene.paint(inside)
        if number:
            scene.air.append(number)
            if rng.random() < 0.6:
                vessel_tree(rng, scene, grid, inside)


def body(rng: Rng, shape: Shape) -> Scene:
    """A trunk seen at any magnification: skin, fat, muscle, packed organs, spine, ribs, lungs, bowel, vessels."""
    grid = warped_grid(rng, shape, 2.5)
    depth, height, width = shape
    zoom = np.exp(rng.uniform(np.log(0.8), np.log(2.6)))  # how much larger than the volume the body is
    radii = np.array([height * rng.uniform(0.36, 0.5), width * rng.uniform(0.42, 0.55)], np.float32) * zoom
    centre = np.array([height, width], np.float32) * 0.5 + rng.normal(0, 0.35, 2) * (radii - 0.4 * width).clip(1)
    centre = centre.astype(np.float32)
    reach = np.sqrt(((grid[1] - centre[0]) / radii[0]) ** 2 + ((grid[2] - centre[1]) / radii[1]) ** 2)
    scene = Scene(np.full(shape, 1, np.uint8), air=[1])
    scene.fat.append(scene.paint(reach < 1, ask=False))
    wall = rng.uniform(0.75, 0.95)
    scene.paint(reach < wall, ask=rng.random() < 0.3)
    inside = reach < wall * rng.uniform(0.8, 0.95)
    stretch = np.array([[rng.uniform(0.4, 1.2)], [1], [1]], np.float32)
    count = int(rng.integers(5, 30))
    seeds = rng.uniform(0, 1, (count, 3)) * np.array(shape) * stretch.T
    near = cKDTree(seeds).query((grid.reshape(3, -1) * stretch).T, k=2)
    owner, gap = near[1][:, 0].reshape(shape), (near[0][:, 1] - near[0][:, 0]).reshape(shape)
    tissue = scene.paint(inside, ask=False)
    if rng.random() < 0.7:
        scene.fat.append(tissue)
    width_of_gap = rng.uniform(0, 5)
    for number in rng.permutation(count)[: int(rng.integers(3, count + 1))]:
        scene.paint(inside & (owner == number) & (gap > width_of_gap))
    for _ in range(int(rng.integers(0, 4))):
        _bowel(rng, scene, grid, inside)
    for _ in range(int(rng.integers(0, 4))):
        blob(rng, scene, grid, 16)
    if rng.random() < 0.35:
        _lungs(rng, scene, grid, (centre, radii), depth)
    if rng.random() < 0.75:
        size = float(radii.mean() * rng.uniform(0.12, 0.2))
        _spine(rng, scene, grid, (float(centre[0] + radii[0] * rng.uniform(0.35, 0.6)), float(centre[1])), size)
        if rng.random() < 0.5:
            _ribs(rng, scene, grid, (centre, radii), depth)
    for _ in range(int(rng.integers(1, 4))):
        vessel_tree(rng, scene, grid, inside if rng.random() < 0.7 else None)
    for _ in range(int(rng.integers(0, 4))):
        blob(rng, scene, grid, 5)
    return scene


def layers(rng: Rng, shape: Shape) -> Scene:
    """Held out: level sets of a random field at two sizes, nested and folded like nothing trained on."""
    fine = smooth_field(rng, shape, rng.uniform(12, 26)) + rng.uniform(0, 0.5) * smooth_field(rng, shape, 8)
    levels = np.sort(rng.uniform(-1.8, 1.8, int(rng.integers(3, 7))))
    parts = np.digitize(fine, levels)
    scene = Scene(np.full(shape, 1, np.uint8))
    for level in range(len(levels) + 1):
        pieces, count = ndimage.label(parts == level)
        sizes = np.bincount(pieces.ravel())
        for number in np.argsort(-sizes[1:])[:6] + 1 if count else ():
            scene.paint(pieces == number)
    return scene


def limbs(rng: Rng, shape: Shape) -> Scene:
    """Held out: a thigh or an arm: skin, fat, bundles of muscle, a bone with marrow, straight vessels."""
    grid = warped_grid(rng, shape, 2)
    axis = int(rng.integers(3))
    across = [a for a in range(3) if a != axis]
    scene = Scene(np.full(shape, 1, np.uint8), air=[1])
    for side in range(int(rng.integers(1, 3))):
        middle = np.array([shape[a] for a in across]) * (0.5 if side == 0 else rng.uniform(0, 1, 2))
        radius = min(shape[a] for a in across) * rng.uniform(0.3, 0.48)
        offset = np.stack([grid[a] - m for a, m in zip(across, middle, strict=True)])
        reach = np.sqrt((offset**2).sum(0)) / radius
        scene.fat.append(scene.paint(reach < 1, ask=False))
        angle = np.arctan2(offset[0], offset[1]) + 0.4 * smooth_field(rng, shape, 30)
        bundles = int(rng.integers(4, 9))
        which = np.floor((angle / (2 * np.pi) + 0.5) * bundles) % bundles
        muscle = reach < rng.uniform(0.75, 0.92)
        for number in range(bundles):
            scene.paint(muscle & (which == number))
        shaft = np.sqrt(((offset - radius * rng.uniform(-0.15, 0.15)) ** 2).sum(0)) / radius
        thick = rng.uniform(0.16, 0.3)
        cortex, marrow = scene.paint(shaft < thick, ask=False), scene.paint(shaft < thick * 0.6, ask=False)
        scene.bone.append(cortex)
        scene.groups.append((cortex, marrow))
        for _ in range(int(rng.integers(1, 4))):
            at = rng.uniform(-0.6, 0.6, 2) * radius
            tube = ((offset - at.reshape(2, 1, 1, 1)) ** 2).sum(0) < rng.uniform(1.2, 3.5) ** 2
            scene.paint(tube)
    return scene


Family = Callable[[Rng, Shape], Scene]
TRAINING_FAMILIES: dict[str, Family] = {"cells": cells, "body": body}
HELD_OUT_FAMILIES: dict[str, Family] = {"layers": layers, "limbs": limbs}


def targets(scene: Scene) -> list[tuple[int, ...]]:
    """The groups that can be asked for: neither specks nor most of the volume."""
    counts = np.bincount(scene.labels.ravel(), minlength=256)
    sizes = [(group, int(counts[list(group)].sum())) for group in scene.groups if 0 not in group]
    return [group for group, size in sizes if MIN_TARGET_VOXELS < size < LARGEST_SHARE * scene.labels.size]
