from __future__ import annotations

import numpy as np

from app.core.training import Sample
from trainers._patches import UNKNOWN, Patches, augmented, has_left_and_right


def sample(shape: tuple[int, int, int]) -> Sample:
    """The image is its own voxel number; one voxel of structure 1 near a corner, 100 of structure 2."""
    label = np.zeros(shape, np.uint8)
    label[0, 0, 1] = 1
    label[1:3, -5:, -10:] = 2
    return Sample("c", "p", np.arange(label.size, dtype=np.float32).reshape(shape), label, frozenset({1, 2}))


def test_a_patch_is_cut_from_one_place() -> None:
    source = Patches([sample((6, 20, 20))], (4, 8, 8), foreground=0.5)
    rng = np.random.default_rng(0)
    for _ in range(50):
        patch = source.draw(rng)
        assert patch.image.shape == patch.label.shape == (4, 8, 8)
        steps = [float(patch.image[1, 0, 0] - patch.image[0, 0, 0]), float(patch.image[0, 0, 1] - patch.image[0, 0, 0])]
        assert steps == [400.0, 1.0]


def test_small_structures_come_as_often_as_large_ones() -> None:
    source = Patches([sample((6, 20, 20))], (4, 8, 8), foreground=1.0)
    rng = np.random.default_rng(0)
    drawn = [source.draw(rng) for _ in range(200)]
    share = np.mean([patch.structure == 1 for patch in drawn])
    assert 0.4 < share < 0.6
    assert all((patch.label == patch.structure).any() for patch in drawn)


def test_a_case_smaller_than_the_patch_lies_in_its_middle_in_the_unknown() -> None:
    patch = Patches([sample((2, 20, 20))], (4, 8, 8), foreground=1.0).draw(np.random.default_rng(0))
    assert (patch.label[[0, 3]] == UNKNOWN).all()
    assert (patch.image[[0, 3]] == 0).all()
    assert (patch.label[1:3] != UNKNOWN).all()


def test_mirroring_keeps_image_and_label_together() -> None:
    rng = np.random.default_rng(0)
    patch = Patches([sample((6, 20, 20))], (4, 8, 8), foreground=1.0).draw(rng)
    place = patch.image.astype(int)[patch.label == patch.structure]
    for _ in range(20):
        changed = augmented(patch, rng, mirrored=True)
        assert (changed.label == patch.structure).sum() == len(place)
        there = changed.image[changed.label == patch.structure]
        assert abs(np.corrcoef(np.sort(there), np.sort(place))[0, 1]) > 0.99 or len(place) == 1


def test_left_and_right_are_not_swapped() -> None:
    assert has_left_and_right(["liver", "Left kidney"])
    assert has_left_and_right(["kidney_right"])
    assert not has_left_and_right(["liver", "spleen"])
