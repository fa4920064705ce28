"""Predictions that end early: when, and that the log, undo and what comes next know exactly how much was done."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.archives.memory import MemoryArchive
from app.core.connection import current_connection
from app.core.prompt import Point
from app.errors import Cancelled
from app.models.trained.deepgrow import _Predict
from app.services import Services
from app.services.prompting.ending import LivePatches, PatchProgress, ReplayedPatches
from app.services.prompting.log import Viewer
from app.settings import ModelSettings, Settings
from tests.dicom.synthetic import ct_series
from tests.models.folders import tiny_nninteractive
from tests.services.two_models import Opener, clicks, mask, opened, without_snapshots

SHAPE = (24, 28, 32)
ANA = Viewer("a viewer", "ana")
CLICK, NEXT = Point((11, 13, 17)), Point((8, 10, 14), include=False)
MOST = 5


class Switch:
    """A connection that a test closes."""

    def __init__(self, closed: bool = False) -> None:
        self.closed = closed

    def watch(self) -> None:
        pass


def answers(patches: LivePatches | ReplayedPatches, count: int, divisible: bool = True) -> list[bool]:
    return [patches.begin(9 if divisible else None) for _ in range(count)]


def test_nothing_ends_what_nobody_is_in_the_way_of() -> None:
    patches = LivePatches(Switch(), lambda: False, whole=False)
    assert answers(patches, 3) == [True, True, True]
    assert patches.done == 3


def test_who_waits_gets_the_device_after_the_patch_in_progress_and_never_before_the_first() -> None:
    patches = LivePatches(Switch(), lambda: True, whole=False)
    assert answers(patches, 3) == [True, False, False]
    assert patches.done == 1
    assert answers(LivePatches(Switch(), lambda: True, whole=True), 3) == [True, True, True]
    assert answers(LivePatches(Switch(), lambda: True, whole=False), 3, divisible=False) == [True, True, True]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_client_that_has_gone_ends_it_and_before_the_first_patch_is_done_it_never_happened(done: int) -> None:
    connection = Switch()
    patches = LivePatches(connection, lambda: False, whole=False)
    answers(patches, done)
    connection.closed = True
    if done < 2:  # the first was not yet finished when the client went
        with pytest.raises(Cancelled):
            patches.begin(9)
    else:
        assert answers(patches, 2) == [False, False]
        assert patches.done == done


@pytest.mark.parametrize(("whole", "divisible"), [(True, True), (False, False)])
def test_what_can_t_be_divided_is_taken_back_as_a_whole(whole: bool, divisible: bool) -> None:
    connection = Switch()
    patches = LivePatches(connection, lambda: False, whole=whole)
    answers(patches, 3, divisible)
    connection.closed = True
    with pytest.raises(Cancelled):
        patches.begin(9 if divisible else None)


def test_a_replay_does_as_many_as_there_were() -> None:
    assert answers(ReplayedPatches(2), 4) == [True, True, False, False]
    assert answers(ReplayedPatches(None), 4) == [True] * 4
    assert answers(ReplayedPatches(2), 4, divisible=False) == [True] * 4


class Watched(torch.nn.Module):
    """A network that counts its patches, and does as it is told before each."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network
        self.count = 0
        self.before: Callable[[int], None] = lambda number: None

    def forward(self, patch: torch.Tensor) -> Any:
        self.count += 1
        self.before(self.count)
        return self.network(patch)


class Site:
    """`limited` looks at most at `MOST` patches besides the first; `unlimited` at as many as the library likes."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.networks: dict[str, Watched] = {}
        for name in ("limited", "unlimited"):
            artifacts = services.models.interactive(name)._load().artifacts  # type: ignore[attr-defined]
            self.networks[name] = artifacts["network"] = Watched(artifacts["network"])

    def opened(self, model: str = "limited") -> str:
        case_id = self.services.cases.all()[0].case.id
        return self.services.prompting.open("ana", case_id, model, {}, ANA)

    def logged(self) -> list[tuple[str, int | None]]:
        (file,) = self.services.project.paths.sessions.glob("*/log.jsonl")
        steps = [json.loads(line) for line in file.read_text().splitlines()]
        return [(step["step"], step.get("patches")) for step in steps]

    def park(self) -> None:
        """Let the next use of every session be made from its log alone."""
        self.services.prompting.close_all()
        without_snapshots(self.services)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    source = str(tiny_nninteractive(tmp_path / "tiny", seed=1))
    settings = Settings(
        workspace=tmp_path / "workspace",
        device="cpu",
        models={
            "limited": ModelSettings(type="nninteractive", source=source, patches=MOST),
            "unlimited": ModelSettings(type="nninteractive", source=source),
        },
        labels={"structures": ["liver"]},  # type: ignore[arg-type]
    )
    services = Services.open(settings, MemoryArchive([ct_series(SHAPE)[0]]))
    services.sync.run()
    yield Site(services)
    services.stop()


@pytest.mark.parametrize("what", ["undo", "reset", "prompt", "close"])
def test_an_overtaken_click_ends_at_its_next_patch(site: Site, what: str) -> None:
    prompting, network = site.services.prompting, site.networks["limited"]
    session_id = site.opened()
    seen: list[Any] = []

    def overtake() -> None:
        if what == "close":
            prompting.close(session_id, "ana")
            return
        with prompting.session(session_id, "ana") as session:
            seen.append(session.mask.copy())
            steps = {"undo": session.undo, "reset": session.reset, "prompt": lambda: session.add([NEXT])}
            steps[what]()
            seen.append(session.mask.copy())

    thread = threading.Thread(target=overtake)

    def before(number: int) -> None:
        if number == 2:
            thread.start()
            while not prompting.waiting(session_id):
                threading.Event().wait(0.001)

    network.before = before
    with prompting.session(session_id, "ana") as session:
        change = session.add([CLICK])
    thread.join()
    assert site.logged()[0] == ("add", 2)
    assert network.count == 2 or what == "prompt"
    if what == "close":
        return
    assert change.region is not None
    assert seen[0][change.region.slices].tolist() == change.voxels.tolist()  # type: ignore[union-attr]
    assert what == "prompt" or not seen[1].any()
    site.park()
    with prompting.session(session_id, "ana") as session:
        np.testing.assert_array_equal(session.mask, seen[1])


def test_who_only_reads_waits_for_the_whole_click(site: Site) -> None:
    prompting, network = site.services.prompting, site.networks["limited"]
    session_id = site.opened()
    read: list[int] = []

    def reading() -> None:
        with prompting.session(session_id, "ana", reading=True) as session:
            read.append(int(session.mask.sum()))

    thread = threading.Thread(target=reading)

    def before(number: int) -> None:
        if number == 2:
            thread.start()
            while not prompting.waiting(session_id):
                threading.Event().wait(0.001)

    network.before = before
    with prompting.session(session_id, "ana") as session:
        session.add([CLICK])
        expected = int(session.mask.sum())
    thread.join()
    assert network.count == 1 + MOST
    assert site.logged() == [("add", 1 + MOST)]
    assert read == [expected]


def test_a_slot_s_next_request_overtakes_too(site: Site) -> None:
    """Protocols that know one image at a time wait for the slot, not for the session in it."""
    prompting, network = site.services.prompting, site.networks["limited"]
    case_id = site.services.cases.all()[0].case.id
    undone = threading.Event()

    def undo() -> None:
        with prompting.slot("ana", "image") as slot:
            slot.session.undo()
            undone.set()

    thread = threading.Thread(target=undo)
    with prompting.slot("ana", "image") as slot:
        session = slot.open(case_id, "limited", {}, ANA)

        def before(number: int) -> None:
            if number == 3:
                thread.start()
                while not session.overtaken:
                    threading.Event().wait(0.001)

        network.before = before
        session.add([CLICK])
    thread.join()
    assert undone.is_set()
    assert network.count == 3
    assert site.logged() == [("add", 3), ("undo", None)]


@pytest.mark.parametrize(
    ("model", "gone_at", "kept"), [("limited", 1, False), ("limited", 3, True), ("unlimited", 3, False)]
)
def test_a_click_whose_client_has_gone_ends_and_a_replay_knows_how(
    site: Site, model: str, gone_at: int, kept: bool
) -> None:
    prompting, network = site.services.prompting, site.networks[model]
    session_id = site.opened(model)
    with prompting.session(session_id, "ana") as session:
        session.add([NEXT])
        first = session.mask.copy()
    connection = Switch()

    def before(number: int) -> None:
        connection.closed = number == gone_at

    network.before, network.count = before, 0
    token = current_connection.set(connection)
    try:
        with prompting.session(session_id, "ana") as session:
            if kept:
                session.add([CLICK])
            else:
                with pytest.raises(Cancelled):
                    session.add([CLICK])
            mask = session.mask.copy()
        assert network.count == gone_at
        network.before = lambda number: None
        with prompting.session(session_id, "ana") as session, pytest.raises(Cancelled):
            session.add([CLICK])  # of a client that has gone already
        assert network.count == gone_at
    finally:
        current_connection.reset(token)
    if not kept:
        np.testing.assert_array_equal(mask, first)
    assert [step for step, _ in site.logged()] == ["add", "add"] if kept else ["add"]

    # What comes next is the same here and in a session that was made from the log.
    with prompting.session(session_id, "ana") as session:
        session.add([CLICK])
        after = session.mask.copy()
    logged = site.logged()
    site.park()
    with prompting.session(session_id, "ana") as session:
        np.testing.assert_array_equal(session.mask, after)
        session.undo()
        np.testing.assert_array_equal(session.mask, mask)
    assert site.logged()[:-1] == logged


def test_how_far_a_click_is_can_be_seen_while_it_runs(site: Site) -> None:
    prompting = site.services.prompting
    for model, most in (("limited", 1 + MOST), ("unlimited", None)):
        session_id = site.opened(model)
        name, network = prompting.record(session_id).name, site.networks[model]
        seen: list[list[PatchProgress]] = []
        network.before = lambda number, seen=seen: seen.append(prompting.progress())
        with prompting.session(session_id, "ana") as session:
            session.add([CLICK])
        assert seen == [[PatchProgress(name, done, most)] for done in range(network.count)]
        assert network.count > 1
        assert prompting.progress() == []


def test_undo_and_reset_are_done_whether_anybody_waits_or_not(site: Site) -> None:
    session_id = site.opened()
    with site.services.prompting.session(session_id, "ana") as session:
        session.add([CLICK])
    token = current_connection.set(Switch(closed=True))
    try:
        with site.services.prompting.session(session_id, "ana") as session:
            assert session.undo() is not None
    finally:
        current_connection.reset(token)
    assert [step for step, _ in site.logged()] == ["add", "undo"]


def test_a_deepgrow_click_is_one_piece(start_two: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is finished and logged though its client goes meanwhile; one that still waits for its turn is not begun."""
    services = start_two()
    session_id = opened(services, "grower", [])
    connection, count = Switch(), 0
    predict = _Predict.__call__

    def leaving(self: _Predict, *arguments: Any) -> Any:
        nonlocal count
        connection.closed = True
        count += 1
        return predict(self, *arguments)

    monkeypatch.setattr(_Predict, "__call__", leaving)
    token = current_connection.set(connection)
    try:
        with services.prompting.session(session_id, "ana") as session:
            session.add(clicks(1))
            kept = session.mask.copy()
            with pytest.raises(Cancelled):
                session.add(clicks(1, seed=5))
            np.testing.assert_array_equal(session.mask, kept)
    finally:
        current_connection.reset(token)
    assert (count, services.prompting.log.count(session_id)) == (1, 1)
    np.testing.assert_array_equal(mask(services, opened(services, "grower", clicks(1))), kept)
