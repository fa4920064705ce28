"""Random contrast for a label map: CT-like windows or MR-like mappings, texture, bias, blur, thick slices, noise,
ghosts, cropped borders. Nothing is taken from an image of a patient."""

import numpy as np
from scipy import ndimage

from bench.starter_model.scenes import FloatArray, Rng, Scene, smooth_field

NEIGHBOUR = 0.4


def _ct_levels(rng: Rng, scene: Scene, count: int) -> FloatArray:
    """Hounsfield units: soft tissue within some tens of each other, fat, bone and air far away."""
    middle, spread = rng.uniform(20, 90), rng.uniform(10, 70)
    levels = rng.normal(middle, spread, count).astype(np.float32)
    levels[scene.fat] = rng.uniform(-120, -60)
    levels[scene.bone] = rng.uniform(180, 900) + rng.normal(0, 40, len(scene.bone))
    bright = rng.random(count) < 0.12  # contrast medium
    levels[bright] += rng.uniform(60, 300, int(bright.sum()))
    for number in scene.air:
        levels[number] = -1000.0 if rng.random() < 0.8 else rng.uniform(-950, -600)
    return levels


def _mr_levels(rng: Rng, scene: Scene, count: int) -> FloatArray:
    """Any grey for any tissue, some close to another, air dark."""
    levels = rng.uniform(0, 1, count).astype(np.float32)
    if rng.random() < 0.5:
        levels = levels ** rng.uniform(0.5, 2)
    for number in range(1, count):
        if rng.random() < NEIGHBOUR:
            levels[number] = levels[rng.integers(1, count)] + rng.choice([-1, 1]) * rng.uniform(0.05, 0.2)
    for number in scene.air:
        levels[number] = rng.uniform(0, 0.06)
    if rng.random() < 0.3:
        levels[scene.bone] = rng.uniform(0, 0.2)
    return levels


def _textured(rng: Rng, labels: np.ndarray, image: FloatArray, contrast: float) -> FloatArray:
    """Grain and slow variation, of another strength in every tissue."""
    count = int(labels.max()) + 1
    if rng.random() < 0.7:
        strength = (rng.uniform(0, 0.22, count) * contrast).astype(np.float32)
        grain = ndimage.gaussian_filter(rng.normal(size=labels.shape).astype(np.float32), rng.uniform(0.5, 1.8))
        image = image + strength[labels] * grain / (grain.std() + 1e-6)
    if rng.random() < 0.6:
        strength = (rng.uniform(0, 0.25, count) * contrast).astype(np.float32)
        image = image + strength[labels] * smooth_field(rng, labels.shape, rng.uniform(6, 20))
    return image


def _thick(rng: Rng, image: FloatArray, axis: int, factor: float) -> FloatArray:
    """Slices ``factor`` times as thick along one axis, then interpolated between."""
    count = image.shape[axis]
    blurred = ndimage.uniform_filter1d(image, max(1, round(factor)), axis=axis)
    zoom = [1.0, 1.0, 1.0]
    zoom[axis] = max(4, round(count / factor)) / count
    few = ndimage.zoom(blurred, zoom, order=1, grid_mode=True, mode="nearest")
    zoom[axis] = count / few.shape[axis]
    return np.asarray(ndimage.zoom(few, zoom, order=1, grid_mode=True, mode="nearest"), np.float32)


def draw(rng: Rng, scene: Scene) -> FloatArray:
    """An image of a scene, float32 (k, j, i), in no particular unit."""
    labels = scene.labels
    count = int(labels.max()) + 1
    ct = rng.random() < 0.5
    levels = _ct_levels(rng, scene, count) if ct else _mr_levels(rng, scene, count)
    contrast = 30.0 if ct else 0.2
    image = _textured(rng, labels, levels[labels], contrast * rng.uniform(0.2, 1.0))
    if rng.random() < 0.85:
        sigma = rng.uniform(0, 1.0, 3)
        image = ndimage.gaussian_filter(image, sigma)
    if rng.random() < 0.2:
        image = _thick(rng, image, int(rng.integers(3)), rng.uniform(1.5, 4))
    if not ct:
        if rng.random() < 0.6:
            image = image * np.exp(rng.uniform(0, 0.35) * smooth_field(rng, labels.shape, rng.uniform(30, 80)))
        if rng.random() < 0.1:
            axis, shift = int(rng.integers(3)), int(rng.integers(8, 40))
            image = image + rng.uniform(0.02, 0.1) * np.roll(image, shift, axis)
    noise = rng.normal(size=labels.shape).astype(np.float32)
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, rng.uniform(0, 0.8))
        noise /= noise.std()
    image = image + contrast * rng.uniform(0, 0.5) * noise
    if ct and rng.random() < 0.3:
        low = rng.uniform(-1000, -150)
        image = np.clip(image, low, rng.uniform(200, 1500))
    elif rng.random() < 0.15:
        image = -image
    if rng.random() < 0.12:  # a cropped image in a frame of zeros
        image = image - image.min() * (rng.random() < 0.5)
        frame = rng.integers(0, 10, (3, 2))
        for axis, (low, high) in enumerate(frame):
            side = [slice(None)] * 3
            side[axis] = slice(0, int(low))
            image[tuple(side)] = 0
            side[axis] = slice(image.shape[axis] - int(high), None)
            image[tuple(side)] = 0
    return np.asarray(image, np.float32)
