"""The guard inside a session: it is there where a folder asks for it, and a click it refuses leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import app.models.nninteractive.model as adapter
from app.core.prompt import Box, InitialMask, Point, Prompt, Region, Scribble
from app.models.device import Device
from app.models.nninteractive.folder import find_folder, read_folder
from app.models.nninteractive.guard import Click, Verdict
from app.models.nninteractive.model import NnInteractive
from tests.models.folders import tiny_nninteractive
from tests.models.volumes import ball_volume


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tiny_nninteractive(tmp_path / "model")
    (made / "segloop.json").write_text(json.dumps({"guard": True}))
    return made


def test_only_the_starter_model_has_the_guard_unasked(tmp_path: Path, folder: Path) -> None:
    assert read_folder(find_folder("starter")).guard
    assert read_folder(folder).guard
    assert not read_folder(tiny_nninteractive(tmp_path / "plain")).guard


def test_a_runaway_click_changes_what_lies_under_it_and_can_be_undone(folder: Path, device: Device) -> None:
    # A random network floods: after a small mask, its first click is a runaway.
    volume = ball_volume()
    start = np.zeros(volume.geometry.shape, bool)
    start[11, 13, 15:20] = True
    session = NnInteractive("guarded", folder, device, autozoom=False).open(volume, {})
    session.add(InitialMask(start))
    before = session.mask.copy()

    unguarded = NnInteractive("plain", tiny_nninteractive(folder.parent / "plain"), device, autozoom=False)
    free = unguarded.open(volume, {})
    free.add(InitialMask(start))
    free.add(Point((11, 13, 17), include=False))
    assert (free.mask != start).sum() > 1000

    session.add(Point((11, 13, 17), include=False))
    expected = before.copy()
    expected[11, 13, 16:19] = 0
    np.testing.assert_array_equal(session.mask, expected)
    np.testing.assert_array_equal(session._target, expected)  # type: ignore[attr-defined]
    session.undo()
    np.testing.assert_array_equal(session.mask, before)


def test_the_guard_sees_the_clicks_that_count(folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Click]] = []

    def apply_guard(
        session: object, before: object, changed: object, clicks: tuple[Click, ...], *_: int, judge: bool
    ) -> Verdict:
        seen.append(list(clicks))
        return Verdict.ACCEPTED

    monkeypatch.setattr(adapter, "apply_guard", apply_guard)
    session = NnInteractive("guarded", folder, device, autozoom=False).open(ball_volume(), {})
    stroke = np.zeros((1, 1, 5), bool)
    stroke[0, 0, 1:4] = True
    prompts: list[Prompt] = [
        Point((11, 13, 17)),
        Scribble(Region((11, 13, 10), (12, 14, 15)), stroke, include=False),
        Box(Region((11, 8, 12), (12, 18, 22))),
    ]
    for prompt in prompts:
        session.add(prompt)
    point, scribble = Click((11, 13, 17), True), Click((11, 13, 12), False)
    assert seen == [[point], [point, scribble]]

    session.add(Point((1, 2, 3)))
    session.undo()
    session.add(Point((4, 5, 6)))
    assert seen[-1] == [point, scribble, Click((4, 5, 6), True)]
    session.reset()
    session.add(Point((7, 8, 9)))
    assert seen[-1] == [Click((7, 8, 9), True)]
