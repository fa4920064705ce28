"""The limit of patches: kept by count, and otherwise a prediction like any other, also if it ends before its limit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.core.prompt import Point, Prompt, Region, Scribble
from app.errors import BadFile, Cancelled
from app.models.device import Device
from app.models.nninteractive import patches as module
from app.models.nninteractive.folder import find_folder, read_folder
from app.models.nninteractive.model import NNINTERACTIVE, NnInteractive
from app.models.registry import ModelOptions
from tests.models.folders import tiny_nninteractive
from tests.models.volumes import ball_volume

LONG = Scribble(Region((12, 2, 16), (13, 26, 17)), np.ones((1, 24, 1), bool))
PROMPTS: list[Prompt] = [Point((11, 13, 17)), Point((3, 4, 5), include=False), LONG, Point((20, 22, 26))]


class Counted(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, patch: torch.Tensor) -> Any:
        self.sizes.append(tuple(patch.shape[2:]))
        return self.network(patch)


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nninteractive(tmp_path_factory.mktemp("models") / "tiny", seed=1)


def counted(folder: Path, device: Device, patches: int | None, *, autozoom: bool = True) -> tuple[Any, Counted]:
    session: Any = NnInteractive("n", folder, device, patches=patches, autozoom=autozoom).open(ball_volume(), {})
    network = session._library.network = Counted(session._library.network)
    return session, network


@pytest.mark.parametrize("limit", [0, 1, 2, 4, 7])
def test_no_prompt_looks_at_more_patches_than_its_limit(folder: Path, device: Device, limit: int) -> None:
    session, network = counted(folder, device, limit)
    most = 0
    for prompt in PROMPTS:
        network.sizes.clear()
        session.add(prompt)
        assert 1 <= len(network.sizes) <= 1 + limit
        most = max(most, len(network.sizes))
    assert most == 1 + limit  # a random network's mask runs on beyond every patch
    assert set(network.sizes) == {(16, 16, 16)}


def test_without_autozoom_a_point_is_one_patch(folder: Path, device: Device) -> None:
    session, network = counted(folder, device, 5, autozoom=False)
    session.add(PROMPTS[0])
    assert len(network.sizes) == 1


def test_a_stroke_longer_than_a_patch_is_seen_whole_even_from_one_patch(folder: Path, device: Device) -> None:
    session, network = counted(folder, device, 0)
    session.add(LONG)
    changed = Region.around(session.mask)
    assert len(network.sizes) == 1
    assert changed is not None
    assert changed.shape[1] > 16


def test_a_limit_that_is_never_reached_changes_nothing_about_one_patch(folder: Path, device: Device) -> None:
    """Where nothing is to be zoomed, a limited session is the library's, bit by bit."""
    limited, _ = counted(folder, device, 3, autozoom=False)
    free, _ = counted(folder, device, None, autozoom=False)
    for prompt in [*PROMPTS[:2], PROMPTS[3]]:
        assert limited.add(prompt) == free.add(prompt)
        np.testing.assert_array_equal(limited.mask, free.mask)
    assert limited.undo() == free.undo()
    np.testing.assert_array_equal(limited.mask, free.mask)


def test_one_undo_takes_back_all_patches_of_a_prompt(folder: Path, device: Device) -> None:
    session, network = counted(folder, device, 4)
    for prompt in PROMPTS:
        before = session.mask.copy()
        region = session.add(prompt)
        after = session.mask.copy()
        assert session.undo() == region
        np.testing.assert_array_equal(session.mask, before)
        assert session.add(prompt) == region
        np.testing.assert_array_equal(session.mask, after)
    assert len(network.sizes) > 2 * len(PROMPTS)


def test_refining_a_whole_mask_keeps_the_limit_too(folder: Path, device: Device) -> None:
    session, network = counted(folder, device, 3)
    session.add(LONG, predict=False)
    network.sizes.clear()
    session.predict(full_refine=True)
    assert len(network.sizes) <= 4


def test_a_folder_says_its_limit_and_the_setting_goes_before(tmp_path: Path, device: Device) -> None:
    folder = tiny_nninteractive(tmp_path / "tiny")
    plain = read_folder(folder)
    assert plain.patches is None
    (folder / "segloop.json").write_text(json.dumps({"patches": 3}))
    assert read_folder(folder).patches == 3
    built: Any = NNINTERACTIVE.build("n", ModelOptions(str(folder), patches=1), device)
    assert built._folder.patches == 1
    # What decides about a mask's voxels is in the version's name: a session is never replayed with another limit.
    assert len({plain.version, read_folder(folder).version, built.card.version}) == 3

    for wrong in (-1, 2.5, "many", True):
        (folder / "segloop.json").write_text(json.dumps({"patches": wrong}))
        with pytest.raises(BadFile, match="patches"):
            read_folder(folder)


def test_the_shipped_model_has_a_limit() -> None:
    assert read_folder(find_folder("starter")).patches is not None


class Asked:
    """Ends a prediction after `most` patches, or takes it back after as many."""

    def __init__(self, most: int, *, taken_back: bool = False) -> None:
        self.left = most
        self.taken_back = taken_back
        self.limits: set[int | None] = set()

    def begin(self, most: int | None) -> bool:
        self.limits.add(most)
        self.left -= 1
        if self.left < 0 and self.taken_back:
            raise Cancelled("gone")
        return self.left >= 0


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_a_prediction_ends_after_the_patches_it_may_begin(folder: Path, device: Device, most: int) -> None:
    """What it leaves depends on their number only, and one undo takes it back."""
    (session, network), (again, _) = counted(folder, device, 6), counted(folder, device, 6)
    ended = 0
    for prompt in PROMPTS:
        before = session.mask.copy()
        network.sizes.clear()
        for one in (session, again):
            one.predict_with(Asked(most))
        region = session.add(prompt)
        assert 1 <= len(network.sizes) <= most
        ended += len(network.sizes) == most
        assert again.add(prompt) == region
        np.testing.assert_array_equal(again.mask, session.mask)
        assert session.undo() == region
        np.testing.assert_array_equal(session.mask, before)
        session.predict_with(Asked(most))
        session.add(prompt)
        np.testing.assert_array_equal(again.mask, session.mask)
    assert ended > 0


def test_each_number_of_patches_leaves_a_mask_of_its_own(folder: Path, device: Device) -> None:
    masks = []
    for most in (1, 2, 3, 5):
        session, _ = counted(folder, device, 6)
        session.predict_with(Asked(most))
        session.add(PROMPTS[0])
        masks.append(session.mask.tobytes())
    assert len(set(masks)) == len(masks)


@pytest.mark.parametrize("limit", [6, None])
@pytest.mark.parametrize("patches", [0, 1, 3])
def test_a_prediction_that_is_taken_back_leaves_nothing(
    folder: Path, device: Device, limit: int | None, patches: int
) -> None:
    (session, network), (still, _) = counted(folder, device, limit), counted(folder, device, limit)
    for one in (session, still):
        one.add(PROMPTS[0])
        one.add(PROMPTS[1], predict=False)
    before = session.mask.copy()
    network.sizes.clear()
    session.predict_with(asked := Asked(patches, taken_back=True))
    for attempt in (lambda: session.add(PROMPTS[3]), lambda: session.predict(full_refine=True)):
        asked.left = patches
        with pytest.raises(Cancelled):
            attempt()
        np.testing.assert_array_equal(session.mask, before)
    assert len(network.sizes) == 2 * patches
    assert asked.limits == {None if limit is None else 1 + limit}

    session.predict_with(Asked(1000))
    for step in (
        lambda one: one.predict(),
        lambda one: one.undo(),
        lambda one: one.add(PROMPTS[2]),
        lambda one: one.undo(),
    ):
        assert step(session) == step(still)
        np.testing.assert_array_equal(session.mask, still.mask)


def test_patches_are_refined_as_the_library_refines_them(
    folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's loop, which can't end early, is the known value."""
    ours, theirs = counted(folder, device, 7)[0], counted(folder, device, 7)[0]
    refined = 0

    def refine(library: Any, planned: Any, coarse: Any, box: Any, patches: Any) -> Any:
        nonlocal refined
        refined += len(planned)

        class Later:
            def write(self, library: Any) -> None:
                library._refine_coarse_with_local_cache(planned, library._get_prev_seg_channel(), coarse, box)

        return Later()

    for prompt in PROMPTS:
        expected = ours.add(prompt)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_predict_again", refine)
            assert theirs.add(prompt) == expected
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        np.testing.assert_array_equal(ours._library.interactions[:], theirs._library.interactions[:])
    assert refined > 4
    assert ours.undo() == theirs.undo()
    np.testing.assert_array_equal(ours.mask, theirs.mask)
