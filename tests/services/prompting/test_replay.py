"""What is left out of a replay makes no difference: not to the mask, not to undo, not to what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from app.core.model import InteractiveModel, InteractiveSession
from app.core.prompt import Box, InitialMask, Point, Prompt, Region
from app.models.device import Device
from app.models.fake import FakeInteractive
from app.models.nninteractive.model import NnInteractive
from app.services.prompting.log import SessionRecord, Step, Viewer
from app.services.prompting.performing import perform
from app.services.prompting.restore import steps_to_replay, version_after
from tests.models.folders import tiny_nninteractive
from tests.models.volumes import ball_mask, ball_volume

SHAPE = (24, 28, 32)
CENTRE = (11, 13, 17)
POINT, OTHER = Point(CENTRE), Point((8, 10, 14))
MASK = InitialMask(ball_mask(SHAPE, CENTRE, 5))
PROMPTS: list[Prompt] = [POINT, OTHER, Point((3, 4, 5), include=False), Box(Region((11, 8, 12), (12, 18, 22))), MASK]
RECORD = SessionRecord("secret", "ana", "case", "fake", "1", {}, Viewer("viewer", "ana"), SHAPE, True, 1.0)


@pytest.fixture(scope="module", params=["fake", "nninteractive"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveModel]:
    if request.param == "fake":
        yield FakeInteractive()
    else:
        yield from tiny(tmp_path_factory, None)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveModel]:
    """Zooms within a limit of patches: its predictions can end early."""
    yield from tiny(tmp_path_factory, 3)


def tiny(tmp_path_factory: pytest.TempPathFactory, limit: int | None) -> Iterator[InteractiveModel]:
    device = Device("cpu", threads=1, precision="fp32")
    folder = tiny_nninteractive(tmp_path_factory.mktemp("models") / "tiny", seed=1)
    yield NnInteractive("tiny", folder, device, autozoom=limit is not None, patches=limit)
    device.shutdown()


def opened(model: InteractiveModel) -> InteractiveSession:
    return model.open(ball_volume(SHAPE, CENTRE, 7), {})


def played(session: InteractiveSession, steps: list[Step]) -> list[Step]:
    """Do what a session would; returns the steps that its log would have, without an undo of nothing."""
    done = []
    for step in steps:
        if step.kind != "undo" or session.undoable:
            perform(session, step)
            done.append(step)
    return done


def check(model: InteractiveModel, steps: list[Step], then: Step) -> None:
    live, again = opened(model), opened(model)
    for step in steps_to_replay(played(live, steps)):
        perform(again, step)
    np.testing.assert_array_equal(again.mask, live.mask)
    assert again.undoable == live.undoable
    for step in (then, Step("predict"), Step("undo")):
        assert perform(again, step) == perform(live, step)
        np.testing.assert_array_equal(again.mask, live.mask)


@pytest.mark.parametrize(
    "then", [Step("add", Point((14, 17, 20))), Step("predict"), Step("undo")], ids=lambda s: s.kind
)
@pytest.mark.parametrize("seed", range(12))
def test_random_sessions_come_out_the_same(model: InteractiveModel, seed: int, then: Step) -> None:
    check(model, random_steps(np.random.default_rng(seed)), then)


@pytest.mark.parametrize("seed", range(4))
def test_random_sessions_whose_predictions_end_early_do_so_too(limited: InteractiveModel, seed: int) -> None:
    rng = np.random.default_rng([seed, 1])
    steps = random_steps(rng)
    steps = [replace(step, patches=int(rng.integers(1, 5))) if step.predicts else step for step in steps]
    check(limited, steps, Step("predict"))


def random_steps(rng: np.random.Generator) -> list[Step]:
    steps = []
    for _ in range(12):
        kind = rng.choice(["add", "note", "predict", "undo", "reset"], p=[0.4, 0.15, 0.1, 0.25, 0.1])
        prompt = PROMPTS[rng.integers(len(PROMPTS))]
        steps.append(Step("add", prompt, predict=bool(kind == "add")) if kind in {"add", "note"} else Step(kind))
    return steps


@pytest.mark.parametrize(
    "steps",
    [
        [Step("add", POINT), Step("add", OTHER), Step("undo"), Step("predict")],
        [Step("add", POINT), Step("add", OTHER), Step("undo"), Step("add", MASK), Step("undo"), Step("predict")],
        [Step("add", POINT, predict=False), Step("reset"), Step("predict")],
        [Step("add", POINT, predict=False), Step("add", MASK), Step("predict")],
        [Step("add", POINT, predict=False), Step("add", MASK), Step("add", OTHER), Step("undo"), Step("predict")],
    ],
    ids=["undone, then predicted", "undone twice", "noted, then reset", "noted, then a mask", "noted, and undone"],
)
def test_sessions_that_are_easily_got_wrong(model: InteractiveModel, steps: list[Step]) -> None:
    check(model, steps, Step("undo"))


def test_what_no_longer_matters_is_left_out() -> None:
    clicks = [Step("add", POINT), Step("add", OTHER)]
    option = Step("options", options={"autozoom": False})
    assert steps_to_replay([*clicks, option, Step("reset"), clicks[0]]) == [option, clicks[0]]
    assert steps_to_replay([*clicks, Step("add", MASK), clicks[0]]) == [Step("add", MASK), clicks[0]]
    assert steps_to_replay([*clicks, Step("undo"), clicks[1]]) == clicks
    assert steps_to_replay([*clicks, Step("undo")]) == [*clicks, Step("undo")]


def test_an_adopted_mask_is_all_there_is_from_then_on() -> None:
    adopted = Step("adopt", MASK, version="2")
    steps = [Step("add", POINT), adopted, Step("add", OTHER)]
    assert steps_to_replay(steps) == [adopted, Step("add", OTHER)]
    assert [version_after(RECORD, steps[:count]) for count in (0, 1, 2, 3)] == ["1", "1", "2", "2"]
