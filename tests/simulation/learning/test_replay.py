"""Whole runs with a tiny network: the desk, claims, label versions, trainer and scoring job are the server's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from app import plugins
from app.core.mask import Mask
from app.core.pool import Pick, Pool
from app.errors import UnknownStrategy
from app.plugins import Plugin, Plugins
from app.simulation.learning.phantoms import GEOMETRY, SHAPE, PhantomSource
from app.simulation.learning.replay import Round, avoidable, contour_voxels, replay
from app.simulation.learning.scenarios import Labelling, Scenario
from tests.simulation.learning.tiny import TINY

assert TINY.phantoms is not None
SOURCE = PhantomSource(TINY.phantoms)


def rounds(folder: Path, strategy: str, seed: int = 0, scenario: Scenario = TINY) -> list[Round]:
    return list(replay(scenario, SOURCE.split(seed), strategy, seed, folder))


def test_a_run_labels_trains_and_tests_after_each_round(tmp_path: Path) -> None:
    found = rounds(tmp_path, "entropy")
    assert [one.labels for one in found] == [2, 4, 6]
    assert [one.number for one in found] == [0, 1, 2]
    assert all(set(one.by_structure) == {"liver", "spleen", "kidneys", "vessel", "lesion"} for one in found)
    assert all(one.dice == pytest.approx(np.mean(list(one.by_structure.values()))) for one in found)
    assert found[0].effort < found[1].effort < found[2].effort
    assert found[0].selection_seconds == 0 < found[1].selection_seconds
    assert not any(one.shared for one in found)


def test_the_same_seed_gives_the_same_run_and_the_same_beginning_for_every_strategy(tmp_path: Path) -> None:
    once, again, other = (rounds(tmp_path / str(n), name) for n, name in enumerate(("random", "random", "first")))
    assert [one.dice for one in once] == [one.dice for one in again]
    assert (once[0].dice, once[0].effort) == (other[0].dice, other[0].effort)


def test_patients_come_first_for_the_strategy_that_looks_at_them(tmp_path: Path) -> None:
    assert rounds(tmp_path, "patient_random", seed=1)[-1].patients == 4


def test_a_pool_that_is_used_up_ends_the_run(tmp_path: Path) -> None:
    scenario = replace(TINY, labelling=Labelling(first=5, per_round=4, rounds=5))
    assert [one.labels for one in rounds(tmp_path, "first", scenario=scenario)] == [5, 7]


@dataclass(frozen=True)
class Backwards:
    """The last case."""

    def rank(self, pool: Pool) -> list[Pick]:
        return [Pick(one.case_id, "last") for one in reversed(pool.candidates)]


def test_a_strategy_of_another_package_is_simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"backwards": Plugin("backwards", Backwards, "The last case.", {})}
    monkeypatch.setattr(plugins, "strategies", lambda: Plugins(mine, ()))
    found = rounds(tmp_path / "mine", "backwards")
    monkeypatch.undo()
    assert [one.dice for one in found] == [one.dice for one in rounds(tmp_path / "last", "last")]


def test_a_strategy_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownStrategy, match="nobody"):
        rounds(tmp_path, "nobody")


def test_what_two_annotators_needed_not_have_shared() -> None:
    assert avoidable("a", {"a", "b"}, ["a", "b", "c"])
    assert not avoidable("c", {"a", "b"}, ["a", "b", "c"])
    assert not avoidable("a", {"a", "b"}, ["a", "b", "b"])  # nobody else is left


def test_annotators_hold_their_cases_at_the_same_time(tmp_path: Path) -> None:
    scenario = replace(TINY, labelling=Labelling(first=1, per_round=4, rounds=1, annotators=4))
    assert rounds(tmp_path, "last", scenario=scenario)[-1].labels == 5


def test_contours_are_counted_slice_by_slice() -> None:
    square = np.zeros(SHAPE, np.uint8)
    square[2:4, 5:10, 5:10] = 1  # 16 of the 25 voxels of a slice are its contour
    assert contour_voxels(Mask.single(square, ["liver"], GEOMETRY)) == 2 * 16
