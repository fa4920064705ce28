"""Undo and redo of any number of steps: a session after it is one in which the undone steps never were, bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.model import SessionState
from app.core.prompt import Box, Edit, InitialMask, Point, Prompt, Region
from app.services import Services
from app.services.prompting.history import Depth
from app.services.prompting.log import Step, Viewer
from app.services.prompting.session import Session
from app.services.prompting.states import StateFiles, StoredState
from app.services.prompting.timeline import Timeline
from tests.services.two_models import OPTIONS, SHAPE, STROKE, Opener, clicks, mask, without_snapshots

BOTH = pytest.mark.parametrize("model", ["grower", "tiny"])
EVERYTHING = Viewer("a viewer", "ana", undoes_all=True)
Do = Callable[[Session], object]


def opened(services: Services, model: str, who: str = "ana") -> str:
    case_id = services.cases.all()[0].case.id
    return services.prompting.open(who, case_id, model, OPTIONS[model], EVERYTHING)


def add(prompt: Prompt, predict: bool = True) -> Do:
    return lambda session: session.add([prompt], predict)


def edit(seed: int) -> Do:
    region = Region((4 + seed % 3, 5, 6), (6 + seed % 3, 12, 14))
    voxels = np.random.default_rng(seed).random(region.shape) > 0.5
    return lambda session: session.edit(Edit(region, voxels))


def done(services: Services, session_id: str, *steps: Do, who: str = "ana") -> None:
    with services.prompting.session(session_id, who) as session:
        for step in steps:
            step(session)


def back(services: Services, session_id: str, times: int = 1) -> bool:
    with services.prompting.session(session_id, "ana") as session:
        return [session.step_back() is not None for _ in range(times)][-1]


def forward(services: Services, session_id: str, times: int = 1) -> bool:
    with services.prompting.session(session_id, "ana") as session:
        return [session.step_forward() is not None for _ in range(times)][-1]


def depth(services: Services, session_id: str) -> Depth:
    with services.prompting.session(session_id, "ana") as session:
        return session.depth


def computed(services: Services, model: str, steps: list[Do]) -> NDArray[np.uint8]:
    """The mask of a session in which these steps were made and nothing else."""
    other = opened(services, model, "bo")
    done(services, other, *steps, who="bo")
    found = mask(services, other, "bo")
    services.prompting.forget(other, "bo")
    return found


def random_step(rng: np.random.Generator, model: str) -> Do:
    kind = rng.choice(["click", "edit", "stroke", "mask", "note", "reset"], p=[0.45, 0.25, 0.1, 0.05, 0.1, 0.05])
    if kind == "edit":
        return edit(int(rng.integers(100)))
    if kind == "reset":
        return lambda session: session.reset()
    if model == "tiny" and kind == "stroke":
        return add(STROKE)
    if model == "tiny" and kind == "mask":
        return add(InitialMask(rng.random(SHAPE) > 0.8))
    (click,) = clicks(1, seed=int(rng.integers(1000)))
    return add(click, predict=bool(kind != "note"))


@BOTH
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 40))])
def test_random_sessions_are_as_if_undone_steps_never_were(
    start_two: Opener, predictions: list[str], model: str, seed: int
) -> None:
    """With kills and orderly ends in between. The reference computes everything from the beginning."""
    rng = np.random.default_rng([seed, len(model)])
    services = start_two()
    session = opened(services, model)
    made: list[Do] = []
    undone: list[Do] = []
    for _ in range(20):
        kind = rng.choice(["step", "undo", "redo", "restart", "kill"], p=[0.45, 0.27, 0.18, 0.05, 0.05])
        if kind == "step":
            step = random_step(rng, model)
            done(services, session, step)
            made, undone = [*made, step], []
        else:
            predictions.clear()
            if kind == "undo":
                assert back(services, session) == bool(made)
                undone = undone + made[-1:]
                made = made[:-1]
            elif kind == "redo":
                assert forward(services, session) == bool(undone)
                made = made + undone[-1:]
                undone = undone[:-1]
            else:
                services = start_two()
                if kind == "kill":
                    without_snapshots(services)
            depth_now = depth(services, session)
            assert predictions == []
            assert depth_now == Depth(len(made), len(undone))
    np.testing.assert_array_equal(mask(services, session), computed(services, model, made))
    last = add(clicks(1, seed=77)[0])
    done(services, session, last)
    np.testing.assert_array_equal(mask(services, session), computed(services, model, [*made, last]))
    assert depth(services, session) == Depth(len(made) + 1, 0)


@BOTH
def test_without_any_stored_state_everything_is_computed_again(start_two: Opener, model: str) -> None:
    """As after a power cut: only the log is there. What was undone is neither computed nor can it be done again."""
    services = start_two()
    session = opened(services, model)
    steps = [add(one) for one in clicks(3)]
    done(services, session, steps[0], edit(1), steps[1], edit(2), steps[2])
    back(services, session, 2)
    services = start_two()
    without_snapshots(services)
    for file in services.project.paths.sessions.glob("*/states/*"):
        file.unlink()
    expected = computed(services, model, [steps[0], edit(1), steps[1]])
    np.testing.assert_array_equal(mask(services, session), expected)
    assert depth(services, session) == Depth(2, 0)
    back(services, session)
    np.testing.assert_array_equal(mask(services, session), computed(services, model, [steps[0], edit(1)]))


def files(services: Services) -> list[Path]:
    return sorted(services.project.paths.sessions.glob("*/states/*.bin"))


def test_a_damaged_state_is_computed_again(start_two: Opener) -> None:
    services = start_two()
    session = opened(services, "grower")
    steps = [add(one) for one in clicks(3)]
    done(services, session, *steps)
    damaged = files(services)[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert depth(services, session) == Depth(3, 0)
    assert back(services, session, 2)
    assert depth(services, session).undo == 1
    np.testing.assert_array_equal(mask(services, session), computed(services, "grower", steps[:1]))


def test_states_of_another_log_are_not_used(start_two: Opener) -> None:
    """A power cut took the log's last steps, and others were made since."""
    services = start_two()
    session = opened(services, "grower")
    first, second, third = (add(one) for one in clicks(3))
    done(services, session, first)
    (log,) = services.project.paths.sessions.glob("*/log.jsonl")
    before = log.read_bytes()
    done(services, session, second)
    stale = files(services)[-1].read_bytes(), files(services)[-1]
    start_two()
    log.write_bytes(before)
    services = start_two()
    without_snapshots(services)
    done(services, session, third)
    stale[1].write_bytes(stale[0])
    services = start_two()
    without_snapshots(services)
    np.testing.assert_array_equal(mask(services, session), computed(services, "grower", [first, third]))


def test_the_oldest_states_go_first(tmp_path: Path) -> None:
    parts = {"prompts": np.random.default_rng(1).bytes(1000)}
    stored = StoredState("1", SessionState("a form", {}, parts), None, False)
    kept = StateFiles(tmp_path / "states", 5000, [])
    for position in range(10):
        kept.keep(position, f"{position:064x}", stored)
    assert [position for position in range(10) if position in kept] == [6, 7, 8, 9]
    assert sum(file.stat().st_size for file in (tmp_path / "states").iterdir()) <= 5000
    assert kept.read(9).state.parts == parts


def test_one_can_go_back_as_far_as_states_are_stored(start_two: Opener) -> None:
    services = start_two()
    session = opened(services, "grower")
    steps = [add(one) for one in clicks(4)]
    done(services, session, *steps)
    services = start_two()
    for oldest in files(services)[:2]:
        oldest.unlink()
    assert depth(services, session) == Depth(2, 0)
    assert back(services, session, 2)
    assert not back(services, session)
    np.testing.assert_array_equal(mask(services, session), computed(services, "grower", steps[:2]))
    assert depth(services, session) == Depth(0, 2)


def test_a_new_step_ends_what_was_undone_and_its_files(start_two: Opener) -> None:
    services = start_two()
    session = opened(services, "grower")
    done(services, session, *[add(one) for one in clicks(5)])
    assert len(files(services)) == 6
    back(services, session, 3)
    assert depth(services, session) == Depth(2, 3)
    done(services, session, edit(3))
    assert depth(services, session) == Depth(3, 0)
    assert not forward(services, session)
    assert len(files(services)) == 4
    services.prompting.close(session, "ana")
    assert files(services) == []


def test_a_client_with_one_step_of_undo_stores_no_states(start_two: Opener) -> None:
    services = start_two()
    case_id = services.cases.all()[0].case.id
    session = services.prompting.open("ana", case_id, "tiny", {}, Viewer("a viewer", "ana"))
    done(services, session, add(clicks(1)[0]))
    assert files(services) == []
    assert back(services, session)
    assert not mask(services, session).any()
    assert depth(services, session) == Depth(0, 0)


def test_a_change_by_hand_is_what_the_next_prompt_starts_from(start_two: Opener) -> None:
    """As an initial mask, which is what clients sent before."""
    services = start_two()
    first, second = clicks(2)
    with_edit = computed(services, "tiny", [add(first), edit(5), add(second)])
    whole = computed(services, "tiny", [add(first), edit(5)])
    as_mask = computed(services, "tiny", [add(first), add(InitialMask(whole != 0)), add(second)])
    np.testing.assert_array_equal(with_edit, as_mask)


def test_options_are_undone_with_the_step_before_them() -> None:
    add_, option = Step("add", Point((1, 2, 3))), Step("options", options={"autozoom": False})
    timeline = Timeline.of([add_, option, add_])
    assert list(timeline.back()) == [2, 0]
    timeline.add(Step("return", to=2))
    timeline.add(Step("return", to=0))
    assert (timeline.path, list(timeline.forward())) == ([], [2, 3])
    timeline.add(Step("return", to=2))
    assert (timeline.path, timeline.place) == ([1, 2], 2)


def test_nothing_before_an_adopted_mask_is_undone() -> None:
    steps = [Step("add", Box(Region((0, 0, 0), (1, 1, 1)))), Step("adopt", InitialMask(np.ones((1, 1, 1), bool)))]
    timeline = Timeline.of([*steps, steps[0]])
    assert list(timeline.back()) == [2]
