"""What is particular about nnInteractive's sessions when they move: its zoom, its rescaling, its insides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

from app.core.model import SessionState
from app.core.prompt import Box, InitialMask, Point, Prompt, Region, Scribble
from app.core.volume import Volume
from app.models.device import Device
from app.models.nninteractive.library import Storage
from app.models.nninteractive.model import NnInteractive, NnInteractiveSession
from tests.models.folders import clicked_nninteractive
from tests.models.volumes import ball_mask, ball_volume

SHAPE = (60, 66, 72)
CENTRE = (30, 33, 36)
PROMPTS: list[Prompt] = [
    Point(CENTRE),
    Box(Region((30, 2, 3), (31, 60, 70))),  # larger than the patch: it is looked at from further away, and refined
    Scribble(Region((20, 30, 5), (21, 32, 60)), np.ones((1, 2, 55), bool)),
    Point((10, 12, 50), include=False),
    InitialMask(ball_mask(SHAPE, CENTRE, 9), refine=True),
    Point((40, 33, 36)),
]
_IMAGE_AND_MODEL = {
    "_fp16_max_value", "_interaction_renorm_target", "_interactions_read_buffer", "_interactions_shape",
    "_interactions_storage_resolved", "channel_mapping", "configuration_manager", "dataset_json", "device", "executor",
    "interaction_decay", "interactions_future", "interactions_storage", "label_manager", "license", "network",
    "num_interaction_channels", "original_image_shape", "pad_mode_data", "plans_manager", "point_interaction",
    "preferred_scribble_thickness", "preprocess_future", "preprocessed_image", "supported_interactions",
    "supports_initial_label", "supports_undo", "supports_zero_shot_label_refinement", "target_buffer",
    "torch_n_threads", "trainer_name", "use_torch_compile", "verbose",
}  # fmt: skip
_STATE = {
    "interactions", "current_interaction_intensity", "new_interaction_centers", "new_interaction_zoom_out_factors",
    "_dirty_channels", "_last_paste_bbox", "do_autozoom", "_undo_log",
}  # fmt: skip


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module", params=["blosc2", "tensor"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, device: Device) -> NnInteractive:
    folder = clicked_nninteractive(tmp_path_factory.mktemp("models") / "tiny", patch=56)
    storage: Storage = request.param
    return NnInteractive("nninteractive", folder, device, storage=storage)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return ball_volume(SHAPE, CENTRE, 12)


def opened(model: NnInteractive, volume: Volume) -> NnInteractiveSession:
    session = model.open(volume, {})
    assert isinstance(session, NnInteractiveSession)
    return session


def moved(model: NnInteractive, volume: Volume, session: NnInteractiveSession) -> NnInteractiveSession:
    state = session.capture()
    assert state is not None
    other = opened(model, volume)
    other.restore(SessionState(state.form, json.loads(json.dumps(state.values)), state.parts), session.mask.copy())
    return other


def prompts_of(session: NnInteractiveSession) -> bytes:
    library: Any = session._library
    return np.ascontiguousarray(library.interactions[...]).tobytes()


def test_zoomed_and_refined_sessions_move_bit_by_bit(
    model: NnInteractive, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    still, moving = opened(model, volume), opened(model, volume)
    refined: list[int] = []
    sizes: list[int] = []
    refine = nnInteractiveInferenceSession._refine_coarse

    def counted(library: Any, boxes: Any, *rest: Any) -> None:
        refined.append(len(boxes))
        refine(library, boxes, *rest)

    monkeypatch.setattr(nnInteractiveInferenceSession, "_refine_coarse", counted)
    for number, prompt in enumerate(PROMPTS):
        moving = moved(model, volume, moving)
        assert still.add(prompt) == moving.add(prompt)
        sizes.append(int(still.mask.sum()))
        np.testing.assert_array_equal(still.mask, moving.mask)
        np.testing.assert_array_equal(still.mask, still._target)  # the one that isn't kept
        assert prompts_of(still) == prompts_of(moving)
        if number % 2:
            moving = moved(model, volume, moving)
            assert still.undo() == moving.undo()
            np.testing.assert_array_equal(still.mask, moving.mask)
            assert prompts_of(still) == prompts_of(moving)
    assert len(refined) >= 4  # in both
    assert sum(sizes) > 0


def test_a_session_whose_prompts_were_rescaled_moves_and_undoes(model: NnInteractive, volume: Volume) -> None:
    """After hundreds of prompts the library scales all channels down at once; undo then puts whole channels back."""
    still, moving = opened(model, volume), opened(model, volume)
    for session in (still, moving):
        session.add(Point(CENTRE))
        session._library.current_interaction_intensity = 65000.0
        session.add(Point((20, 20, 20)))
        assert session._library.current_interaction_intensity < 7000
    moving = moved(model, volume, moving)
    assert prompts_of(still) == prompts_of(moving)
    assert still.undo() == moving.undo()
    assert prompts_of(still) == prompts_of(moving)
    assert moving._library.current_interaction_intensity == 65000.0
    assert still.add(Point((40, 40, 40))) == moving.add(Point((40, 40, 40)))
    np.testing.assert_array_equal(still.mask, moving.mask)


def test_options_that_were_changed_move_along(model: NnInteractive, volume: Volume) -> None:
    session = opened(model, volume)
    session.set_options({"autozoom": False})
    assert moved(model, volume, session)._library.do_autozoom is False


def test_the_library_has_nothing_in_memory_that_is_not_known_here(model: NnInteractive, volume: Volume) -> None:
    """If this fails after an update of nnInteractive: see what its new attribute is for, and whether it has to be
    kept, before `app.models.nninteractive.state` is told that it knows this version."""
    session = opened(model, volume)
    session.add(Point(CENTRE))
    assert set(vars(session._library)) == _STATE | _IMAGE_AND_MODEL
    assert set(session._library._undo_log) == {"current_interaction_intensity", "dirty_channels", "queued", "records"}


def test_nothing_is_taken_from_an_unknown_version(
    model: NnInteractive, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(model, volume)
    monkeypatch.setattr(type(session._library), "INFERENCE_SESSION_VERSION", "2.7.0")
    assert session.capture() is None
