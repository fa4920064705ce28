"""What every interactive model owes the services, asked of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.model import InteractiveModel, InteractiveSession, Option
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Geometry, Volume
from app.errors import BadInput, BadOption, BadPrompt, SegloopError
from app.models.device import Device
from app.models.fake import FakeInteractive
from app.models.nninteractive.folder import find_folder
from app.models.nninteractive.model import NnInteractive
from app.models.scribbles import Scribbles
from app.models.trained.deepgrow import Deepgrow
from app.models.trained.networks import Served
from tests.models.folders import tiny_nninteractive, tiny_version
from tests.models.volumes import ball_mask, ball_volume

SHAPE = (24, 28, 32)
CENTRE = (11, 13, 17)


@dataclass(frozen=True)
class Asked:
    """A model, the options its sessions open with, and prompts that make it change its mask more than once."""

    model: InteractiveModel
    options: dict[str, Option]
    prompts: list[Prompt]

    def open(self, seed: int = 0) -> InteractiveSession:
        return self.model.open(ball_volume(SHAPE, CENTRE, 7, seed), self.options)


POINTS: list[Prompt] = [
    Point((11, 13, 17)),
    Point((8, 10, 14)),
    Point((20, 22, 26), include=False),
    Point((14, 17, 20)),
]
STROKES: list[Prompt] = [
    Scribble(Region((11, 13, 14), (12, 14, 21)), np.ones((1, 1, 7), bool)),
    Scribble(Region((11, 2, 4), (12, 3, 28)), np.ones((1, 1, 24), bool), include=False),
    Scribble(Region((9, 4, 4), (10, 6, 6)), np.ones((1, 2, 2), bool)),
    Scribble(Region((11, 13, 17), (12, 15, 18)), np.ones((1, 2, 1), bool), include=False),
]


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(
    scope="module",
    params=["fake", "nninteractive_demo", "nninteractive_dense", "nninteractive_blosc2", "deepgrow_2d", "deepgrow_3d",
            "deepgrow_coarse", "histogram_graphcut", "gmm_graphcut"],
)  # fmt: skip
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, device: Device) -> Asked:
    folder = tmp_path_factory.mktemp("contract")
    return MODELS[request.param](folder, device)


def _deepgrow(kind: str, spacing: float, seed: int = 0) -> Callable[[Path, Device], Asked]:
    def make(folder: Path, device: Device) -> Asked:
        version = tiny_version(folder / "1", kind, spacing=spacing, seed=seed)
        return Asked(Deepgrow("deepgrow", Served(version.folder, device), device), {}, POINTS)

    return make


def _nninteractive(storage: Any) -> Callable[[Path, Device], Asked]:
    def make(folder: Path, device: Device) -> Asked:
        model = NnInteractive("tiny", tiny_nninteractive(folder / "tiny"), device, storage=storage)
        return Asked(model, {"autozoom": False}, [*POINTS, *STROKES])

    return make


def _demo(folder: Path, device: Device) -> Asked:
    quick = Device("cpu", threads=1)  # in whatever precision is faster here; its clicks are the slowest of all
    return Asked(NnInteractive("demo", find_folder("demo"), quick), {"autozoom": False}, [POINTS[0], POINTS[2]])


MODELS: dict[str, Callable[[Path, Device], Asked]] = {
    "fake": lambda folder, device: Asked(FakeInteractive(), {}, [*POINTS, *STROKES]),
    "nninteractive_demo": _demo,
    "nninteractive_dense": _nninteractive("tensor"),
    "nninteractive_blosc2": _nninteractive("blosc2"),
    "deepgrow_2d": _deepgrow("deepgrow_2d", 0.0, seed=3),
    "deepgrow_3d": _deepgrow("deepgrow_3d", 0.0, seed=3),
    "deepgrow_coarse": _deepgrow("deepgrow_3d", 1.7, seed=3),
    "histogram_graphcut": lambda folder, device: Asked(Scribbles("scribbles", "histogram"), {}, STROKES),
    "gmm_graphcut": lambda folder, device: Asked(Scribbles("scribbles", "gmm"), {}, STROKES),
}


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


def test_the_card_can_be_shown(asked: Asked) -> None:
    card = asked.model.card

    assert card.ready
    assert card.version
    assert card.description
    assert card.kind in {"interactive", "scribbles"}
