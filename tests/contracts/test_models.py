"""What every model type that takes prompts owes the services, asked of each in the registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.model import PROMPTED
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Geometry, Volume
from app.errors import BadInput, BadOption, BadPrompt, SegloopError
from app.models.device import Device
from tests.contracts.model_samples import CENTRE, SHAPE, Asked, Sample, samples
from tests.models.volumes import ball_mask, ball_volume


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module", params=samples(*PROMPTED))
def sample(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def asked(sample: Sample, tmp_path_factory: pytest.TempPathFactory, device: Device) -> Asked:
    return sample.asked(tmp_path_factory.mktemp("contract"), device)


def test_a_new_session_is_empty(asked: Asked) -> None:
    session = asked.open()

    assert session.mask.dtype == np.uint8
    assert session.mask.shape == SHAPE
    assert not session.mask.any()
    assert session.undo() is None
    assert session.reset() is None


def test_regions_are_exactly_what_changed_and_the_mask_is_updated_in_place(asked: Asked) -> None:
    session = asked.open()
    mask = session.mask
    changes = 0
    for prompt in asked.prompts:
        before = mask.copy()
        region = session.add(prompt)
        assert session.mask is mask
        assert region == Region.around(mask != before)
        changes += region is not None

    assert changes > 0
    assert set(np.unique(mask)) <= {0, 1}


def test_prompts_outside_change_nothing_now_or_later(asked: Asked) -> None:
    session, clean = asked.open(), asked.open()
    first, *others = asked.prompts
    session.add(first)
    clean.add(first)
    before = session.mask.copy()
    for prompt in bad_prompts():
        with pytest.raises(BadPrompt):
            session.add(prompt)
        with pytest.raises(BadPrompt):
            session.add(prompt, predict=False)
        np.testing.assert_array_equal(session.mask, before)
    for prompt in others:
        assert session.add(prompt) == clean.add(prompt)
    np.testing.assert_array_equal(session.mask, clean.mask)


def bad_prompts() -> list[Prompt]:
    return [
        Point((24, 13, 17)),
        Point((11, -1, 17)),
        Box(Region((11, 13, 30), (12, 14, 33))),
        Scribble(Region((23, 0, 0), (25, 1, 1)), np.ones((2, 1, 1), bool)),
        Scribble(Region((1, 1, 1), (2, 3, 3)), np.zeros((1, 2, 2), bool)),
        Lasso(Region((1, 1, 1), (2, 3, 3)), np.zeros((1, 2, 2), bool)),
        InitialMask(np.zeros((24, 28, 31), bool)),
    ]


def test_kinds_that_are_not_accepted_are_refused(asked: Asked) -> None:
    session = asked.open()
    box = Region((5, 5, 5), (6, 9, 9))
    every: list[Prompt] = [
        Point(CENTRE),
        Box(box),
        Scribble(box, np.ones((1, 4, 4), bool)),
        Lasso(box, np.ones((1, 4, 4), bool)),
        InitialMask(np.zeros(SHAPE, bool)),
    ]
    for prompt in every:
        if type(prompt) not in asked.model.accepts:
            with pytest.raises(BadPrompt, match="takes no"):
                session.add(prompt)


def test_undo_restores_what_was_before_the_last_prompt_and_no_more(asked: Asked) -> None:
    session, shorter = asked.open(), asked.open()
    *kept, last = asked.prompts[:3]
    for prompt in kept:
        session.add(prompt)
        shorter.add(prompt)
    before = session.mask.copy()
    changed = session.add(last)

    assert session.undo() == changed
    np.testing.assert_array_equal(session.mask, before)
    assert session.undo() is None
    np.testing.assert_array_equal(session.mask, before)
    # The prompt is gone from the session's memory too, not only from the mask.
    for prompt in asked.prompts[3:]:
        assert session.add(prompt) == shorter.add(prompt)
    np.testing.assert_array_equal(session.mask, shorter.mask)


def test_reset_empties_and_forgets(asked: Asked) -> None:
    session, fresh = asked.open(), asked.open()
    for prompt in asked.prompts:
        session.add(prompt)
    filled = Region.around(session.mask)

    assert session.reset() == filled
    assert not session.mask.any()
    assert session.undo() is None
    for prompt in asked.prompts[:2]:
        assert session.add(prompt) == fresh.add(prompt)
    np.testing.assert_array_equal(session.mask, fresh.mask)


def test_an_initial_mask_is_the_mask_and_forgets_what_was(asked: Asked) -> None:
    start = ball_mask(SHAPE, (6, 7, 8), 4)
    session, fresh = asked.open(), asked.open()
    session.add(asked.prompts[0])
    session.add(InitialMask(start))
    np.testing.assert_array_equal(session.mask, start)
    fresh.add(InitialMask(start))
    for prompt in asked.prompts[:2]:
        assert session.add(prompt) == fresh.add(prompt)
    np.testing.assert_array_equal(session.mask, fresh.mask)


def test_a_noted_prompt_shows_nothing_yet(asked: Asked) -> None:
    session = asked.open()
    assert session.add(asked.prompts[0], predict=False) is None
    assert not session.mask.any()
    session.undo()
    assert not session.mask.any()


def test_sessions_do_not_cross(asked: Asked) -> None:
    alone: list[NDArray[np.uint8]] = []
    for seed in (0, 1):
        session = asked.open(seed)
        for prompt in asked.prompts:
            session.add(prompt)
        alone.append(session.mask.copy())
    first, second = asked.open(0), asked.open(1)
    for prompt in asked.prompts:
        first.add(prompt)
        second.add(prompt)

    np.testing.assert_array_equal(first.mask, alone[0])
    np.testing.assert_array_equal(second.mask, alone[1])


@pytest.mark.parametrize(
    "voxels", [np.full(SHAPE, 4, np.int16), np.full(SHAPE, np.nan), np.where(np.indices(SHAPE)[0] == 3, np.inf, 0.0)]
)
def test_volumes_nobody_can_segment_are_refused(asked: Asked, voxels: NDArray[Any]) -> None:
    with pytest.raises(BadInput):
        asked.model.open(Volume(voxels, Geometry(SHAPE, np.eye(4))), asked.options)


def test_unknown_options_are_refused(asked: Asked) -> None:
    with pytest.raises(BadOption, match="tempo"):
        asked.model.open(ball_volume(SHAPE, CENTRE), {**asked.options, "tempo": 3})


def test_the_estimate_covers_at_least_the_mask(asked: Asked) -> None:
    small, large = ball_volume(SHAPE, CENTRE), ball_volume((48, 56, 64), (20, 20, 20))

    assert asked.model.session_bytes(small) >= small.geometry.voxel_count
    assert asked.model.session_bytes(large) > 4 * asked.model.session_bytes(small)


def test_a_closed_session_is_closed(asked: Asked) -> None:
    session = asked.open()
    session.add(asked.prompts[0])
    session.close()

    with pytest.raises(SegloopError):
        session.add(asked.prompts[0])
    session.close()


def test_the_card_can_be_shown(asked: Asked, sample: Sample) -> None:
    card = asked.model.card

    assert card.ready
    assert card.version
    assert card.description
    assert card.kind == sample.type.kind
    assert card.takes_prompts
