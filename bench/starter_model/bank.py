"""Scenes made ahead, one file each, for training to draw from: `python -m bench.starter_model.bank --out FOLDER`.

Goes on where it stopped, so that a bank can grow beside a running training, in a process of its own.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.starter_model.contrast import draw
from bench.starter_model.phantoms import MIN_OBJECT_VOXELS, normalise, training_phantom
from bench.starter_model.scenes import (
    HELD_OUT_FAMILIES,
    TRAINING_FAMILIES,
    Family,
    FloatArray,
    Labels,
    Rng,
    Scene,
    Shape,
    targets,
)

PHANTOM_SHARE = 0.2
LONGEST = 84


@dataclass(frozen=True)
class Sample:
    """A normalised image float32 (k, j, i), its labels, and the groups of labels that can be asked for."""

    image: FloatArray
    labels: Labels
    groups: tuple[tuple[int, ...], ...]


def _shape(rng: Rng) -> Shape:
    """Mostly a cube of about a patch and a bit; a third of them thin along k, as many real images are."""
    j, i = (int(n) for n in rng.integers(64, LONGEST + 1, 2))
    k = int(rng.integers(12, 48)) if rng.random() < 0.35 else int(rng.integers(48, LONGEST + 1))
    return k, j, i


def drawn_sample(rng: Rng, families: dict[str, Family], shape: Shape | None = None) -> Sample:
    """One scene of any of the families with at least one structure in it, drawn with random contrast."""
    while True:
        family = families[str(rng.choice(sorted(families)))]
        scene: Scene = family(rng, shape or _shape(rng))
        groups = targets(scene)
        image = draw(rng, scene)
        if groups and image.std() > 0:
            return Sample(normalise(image), scene.labels, tuple(groups))


def training_sample(rng: Rng) -> Sample:
    """A sample to train on: a made-up scene, or one of the phantoms that the tests and the demo look like."""
    if rng.random() >= PHANTOM_SHARE:
        return drawn_sample(rng, TRAINING_FAMILIES)
    while True:
        phantom = training_phantom(rng)
        counts = np.bincount(phantom.labels.ravel(), minlength=2)
        groups = tuple((n,) for n in range(1, len(counts)) if counts[n] >= MIN_OBJECT_VOXELS)
        if groups:
            return Sample(normalise(phantom.image), phantom.labels, groups)


def held_out_sample(rng: Rng) -> Sample:
    """A sample of the families that nothing is trained on."""
    return drawn_sample(rng, HELD_OUT_FAMILIES)


def save(path: Path, sample: Sample) -> None:
    """Store a sample; a reader sees a whole file or none."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        groups = np.frombuffer(json.dumps(sample.groups).encode(), np.uint8)
        np.savez(file, image=sample.image.astype(np.float16), labels=sample.labels, groups=groups)
    os.replace(partial, path)


def load(path: Path) -> Sample:
    with np.load(path, allow_pickle=False) as stored:
        groups = tuple(tuple(group) for group in json.loads(stored["groups"].tobytes()))
        return Sample(stored["image"].astype(np.float32), stored["labels"], groups)


def fill(folder: Path, count: int, seed: int) -> None:
    """Make the samples of a bank that are missing; each depends on the seed and its own number only."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:06d}.npz"
        if not path.exists():
            save(path, training_sample(np.random.default_rng([seed, number])))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    fill(arguments.out, arguments.count, arguments.seed)


if __name__ == "__main__":
    main()
