"""Labels that speak of one structure each teach all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
import torch

from app.core.training import Sample, TrainingRun
from app.models.trained.networks import build_network
from trainers._patches import Patch, Patches
from trainers._scoring import MeasuredPatches
from trainers.deepedit import _correction
from trainers.segmentation import Segmentation

NAMES = ("one", "two", "three", "four")
GREYS = (-3.0, -1.2, 1.2, 3.0)
SHAPE = (8, 24, 24)
ALL = frozenset({1, 2, 3, 4})


def sample(seed: int, only: int = 0, examined: frozenset[int] = ALL) -> Sample:
    """Four blocks in noise, each of a grey of its own; the label has all of them, or `only` one."""
    rng = np.random.default_rng(seed)
    image, label = rng.normal(0, 0.3, SHAPE).astype(np.float32), np.zeros(SHAPE, np.uint8)
    places = rng.permutation([(2, 2), (2, 13), (13, 2), (13, 13)])
    for number, ((j, i), grey) in enumerate(zip(places, GREYS, strict=True), start=1):
        block = (slice(1, 7), slice(j + rng.integers(2), j + 8), slice(i + rng.integers(2), i + 8))
        image[block] += grey
        label[block] = number
    return Sample(str(seed), str(seed), image, label * (label == only) if only else label, examined)


def dice_after(train: Callable[[int], Sample]) -> Mapping[str, float]:
    """Dice of each structure on whole labels, after training on `train(0)` to `train(7)`; equal but for the labels."""
    trainer = Segmentation("8,16,16", "8,16", "0,0,0", dropout=0, batch=4, steps_per_epoch=70, learning_rate=1e-2)
    spec = trainer.spec(NAMES, None)
    torch.manual_seed(3)
    run = TrainingRun(
        spec=spec,
        network=build_network(spec),
        device="cpu",
        train=[train(seed) for seed in range(8)],
        validate=[sample(seed) for seed in range(20, 24)],
        epochs=4,
        seed=5,
        pause=lambda: None,
    )
    *_, last = trainer.train(run)
    return {name: last.metrics[f"dice:{name}"] for name in NAMES}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slower than one with a network this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_one_structure_for_each_label_teaches_them_all() -> None:
    whole = dice_after(sample)
    partial = dice_after(lambda seed: sample(seed, only=seed % 4 + 1, examined=frozenset({seed % 4 + 1})))
    as_background = dice_after(lambda seed: sample(seed, only=seed % 4 + 1))
    for name in NAMES:
        assert partial[name] >= 0.9 * whole[name]
        assert partial[name] > as_background[name] + 0.1


def test_dice_counts_what_was_examined_only() -> None:
    def of(examined: frozenset[int], only: int) -> dict[str, float]:
        shown = sample(0, only, examined)
        measured = MeasuredPatches(NAMES, (Patch(shown.image, shown.label, 0, shown.examined),))
        return measured.dice(lambda patch: torch.from_numpy(sample(0).label.astype(np.int64)))

    assert of(frozenset({2}), 2) == {"dice": 1.0, "dice:two": 1.0}
    assert of(frozenset({1, 2}), 2) == {"dice": 0.5, "dice:one": 0.0, "dice:two": 1.0}, "structure 1 is absent"


def test_a_click_corrects_what_was_examined_only() -> None:
    found, rng = sample(0).label, np.random.default_rng(0)
    shown = sample(0, only=2, examined=frozenset({2}))
    assert _correction(found, Patch(shown.image, shown.label, 2, shown.examined), rng) == []
    ((number, at),) = _correction(found, Patch(shown.image, shown.label, 2, frozenset({2, 3})), rng)
    assert number == 0
    assert found[at] == 3


def test_a_patch_tells_what_its_case_speaks_of() -> None:
    patches = Patches([sample(0, only=2, examined=frozenset({2, 4}))], SHAPE, foreground=1.0)
    assert patches.draw(np.random.default_rng(0)).examined == {2, 4}
