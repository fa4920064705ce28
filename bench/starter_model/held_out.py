"""Held-out scenes as files for `segloop simulate clicks`: `python -m bench.starter_model.held_out --out FOLDER`.

`compare` clicks patch by patch; with these a model is measured as it is served, with its session, zoom and guard.
"""

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from bench.starter_model.bank import Sample, drawn_sample
from bench.starter_model.phantoms import held_out_kinds, normalise
from bench.starter_model.scenes import HELD_OUT_FAMILIES, Rng

STRUCTURES = 2
"""How many structures of each scene are asked for."""
LEAST_VOXELS = 200


def large_sample(rng: Rng, longest: int) -> Sample:
    """A scene about as large as a coarse image of a body: up to ``longest`` voxels in a slice, 20 to 60 slices."""
    j, i = (int(n) for n in rng.integers(longest * 2 // 3, longest + 1, 2))
    return drawn_sample(rng, HELD_OUT_FAMILIES, (int(rng.integers(20, 61)), j, i))


def chosen(sample: Sample, rng: Rng) -> np.ndarray:
    """A label map (k, j, i) of some structures of a sample, numbered from 1."""
    found = np.zeros(sample.labels.shape, np.uint8)
    for number in rng.permutation(len(sample.groups)):
        mask = np.isin(sample.labels, sample.groups[number]) & (found == 0)
        if mask.sum() >= LEAST_VOXELS and found.max() < STRUCTURES:
            found[mask] = found.max() + 1
    return found


def write(folder: Path, name: str, image: np.ndarray, labels: np.ndarray) -> None:
    for kind, voxels in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(folder / kind / f"{name}.nii.gz"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--longest", type=int, default=120)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    kinds = held_out_kinds()
    for number in range(arguments.scenes):
        rng = np.random.default_rng([arguments.seed, number])
        sample = large_sample(rng, arguments.longest)
        labels = chosen(sample, rng)
        if labels.any():
            write(arguments.out, f"scene-{number:03d}", sample.image, labels)
    for number in range(arguments.phantoms):
        phantom = kinds[number % len(kinds)].make(np.random.default_rng([arguments.seed, number]))
        write(arguments.out, f"phantom-{number:03d}", normalise(phantom.image), (phantom.labels == 1).astype(np.uint8))


if __name__ == "__main__":
    main()
