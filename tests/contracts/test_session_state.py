"""A session that is taken down and set up elsewhere at any moment goes on as one that nothing happened to: bit by bit,
undo included. Asked of every model type that takes prompts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.model import PROMPTED, InteractiveSession, SessionState
from app.core.prompt import InitialMask, Region
from app.errors import BadFile, BadPrompt
from app.models.device import Device
from tests.contracts.model_samples import CENTRE, SHAPE, Asked, samples
from tests.models.volumes import ball_mask, ball_volume


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module", params=[one for one in samples(*PROMPTED) if not one.values[0].slow])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, device: Device) -> Asked:
    made: Asked = request.param.asked(tmp_path_factory.mktemp("state"), device)
    return made


def moved(asked: Asked, session: InteractiveSession) -> InteractiveSession:
    """The session in another one's memory; in between it was nothing but JSON and bytes."""
    state = session.capture()
    assert state is not None
    mask = session.mask.copy()
    session.close()
    there = SessionState(
        state.form, json.loads(json.dumps(state.values)), {k: bytes(v) for k, v in state.parts.items()}
    )
    other = asked.open()
    other.restore(there, mask)
    return other


class Pair:
    """One session left alone and one that is moved before each step; both are told the same."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.still, self.moving = asked.open(), asked.open()

    def do(self, name: str, *arguments: Any, **options: Any) -> None:
        self.moving = moved(self.asked, self.moving)
        answers = []
        for session in (self.still, self.moving):
            try:
                answers.append(getattr(session, name)(*arguments, **options))
            except BadPrompt as error:
                answers.append(str(error))
        assert answers[0] == answers[1]
        assert self.still.undoable == self.moving.undoable
        np.testing.assert_array_equal(self.still.mask, self.moving.mask)


@pytest.mark.parametrize("seed", range(4))
def test_a_session_that_moves_before_every_step_notices_nothing(asked: Asked, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair = Pair(asked)
    drawn = [*asked.prompts, InitialMask(ball_mask(SHAPE, CENTRE, 5)), InitialMask(ball_mask(SHAPE, CENTRE, 4), True)]
    sums = set()
    for _ in range(18):
        kind = rng.choice(["add", "note", "predict", "undo", "reset"], p=[0.5, 0.1, 0.1, 0.25, 0.05])
        if kind in {"add", "note"}:
            pair.do("add", drawn[rng.integers(len(drawn))], predict=bool(kind == "add"))
        elif kind == "predict":
            pair.do("predict", full_refine=bool(rng.integers(2)))
        else:
            pair.do(str(kind))
        sums.add(int(pair.still.mask.sum()))
    assert len(sums) > 1  # it was about something


@pytest.mark.parametrize("seed", range(2))
def test_a_session_that_goes_back_goes_on_as_before(asked: Asked, seed: int) -> None:
    """To any state of its own, in the same memory; compared with one in which nothing else ever happened."""
    rng = np.random.default_rng([seed, 5])
    drawn = [*asked.prompts, InitialMask(ball_mask(SHAPE, CENTRE, 5))]
    session, other = asked.open(), asked.open()
    for target in (session, other):
        target.add(asked.prompts[0])
    state, mask = session.capture(), session.mask.copy()
    assert state is not None
    for _ in range(5):
        with contextlib.suppress(BadPrompt):
            session.add(drawn[rng.integers(len(drawn))], predict=bool(rng.integers(3)))
    session.reset()
    session.add(asked.prompts[-1])
    session.move_to(state, mask, Region.whole(SHAPE))
    for prompt in (None, *asked.prompts):
        if prompt is not None:
            assert session.add(prompt) == other.add(prompt)
        assert session.undoable == other.undoable
        np.testing.assert_array_equal(session.mask, other.mask)
    assert session.undo() == other.undo()
    np.testing.assert_array_equal(session.mask, other.mask)


def test_capturing_changes_nothing(asked: Asked) -> None:
    pair = Pair(asked)
    for prompt in asked.prompts[:2]:
        pair.still.capture()
        pair.do("add", prompt)
    pair.still.capture()
    pair.do("undo")


def test_what_fits_elsewhere_only_is_refused(asked: Asked) -> None:
    session = asked.open()
    session.add(asked.prompts[0])
    state = session.capture()
    assert state is not None
    with pytest.raises(BadFile, match="fit"):
        asked.open().restore(SessionState("another program 7", state.values, state.parts), session.mask)
    with pytest.raises(BadFile):
        asked.open().restore(SessionState(state.form, {}, {}), session.mask)
    larger = asked.model.open(ball_volume((26, 28, 32), CENTRE), asked.options)
    with pytest.raises(BadFile):
        larger.restore(state, session.mask)


def test_an_adopted_mask_is_where_it_begins(asked: Asked) -> None:
    mask: NDArray[np.uint8] = ball_mask(SHAPE, CENTRE, 6).astype(np.uint8)
    session = asked.open()
    session.adopt(mask)
    np.testing.assert_array_equal(session.mask, mask)
    assert not session.undoable
    assert session.undo() is None
    changed = [session.add(prompt) for prompt in asked.prompts[:2]]
    session.undo()
    assert session.undo() is None
    assert any(changed)


def test_a_session_names_its_weights_as_the_card_does(asked: Asked) -> None:
    assert asked.open().version == asked.model.card.version
