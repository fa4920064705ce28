"""Prompt sessions that outlive memory and the server, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.core.model import Option
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Geometry, Volume
from app.errors import BadInput, ResourceExhausted, UnknownSession
from app.services import Services
from app.services.prompting.images import SentImage
from app.services.prompting.log import SessionLog, Viewer
from app.settings import ModelSettings, Settings
from tests.dicom.synthetic import ct_series
from tests.models.folders import tiny_nninteractive
from tests.prompting import Steps

SHAPE = (9, 20, 16)
ANA = Viewer("a viewer", "ana")
NO_OPTIONS: dict[str, Option] = {}
OPTIONS: dict[str, dict[str, Option]] = {"fake": {}, "nninteractive": {"autozoom": False}}

Opener = Callable[..., Services]


@pytest.fixture
def archive() -> MemoryArchive:
    return MemoryArchive([ct_series(SHAPE, orientation="oblique", reversed=True, seed=n, patient=n)[0] for n in (1, 2)])


@pytest.fixture
def start(tmp_path: Path, archive: MemoryArchive) -> Iterator[Opener]:
    """Starts the services over the same workspace, after ending those that run."""
    folder = tiny_nninteractive(tmp_path / "tiny")
    running: list[Services] = []

    def start(**sessions: Any) -> Services:
        for services in running:
            services.stop()
        running.clear()
        settings = Settings(
            workspace=tmp_path / "workspace",
            device="cpu",
            models={
                "fake": ModelSettings(type="fake"),
                "nninteractive": ModelSettings(type="nninteractive", source=str(folder)),
            },
            labels={"structures": ["liver"]},  # type: ignore[arg-type]
            sessions=sessions,  # type: ignore[arg-type]
        )
        services = Services.open(settings, archive)
        services.sync.run()
        running.append(services)
        return services

    yield start
    for services in running:
        services.stop()


def drawn(k: int) -> tuple[Region, NDArray[np.bool_]]:
    region = Region((k, 4, 5), (k + 1, 9, 11))
    return region, np.random.default_rng(k).random(region.shape) > 0.4


def every_kind() -> list[Prompt]:
    mask = np.zeros(SHAPE, bool)
    mask[3:6, 5:12, 4:9] = True
    return [
        InitialMask(mask),
        Point((4, 10, 8)),
        Point((2, 3, 3), include=False),
        Box(Region((5, 4, 4), (6, 15, 12))),
        Scribble(*drawn(6)),
        Lasso(*drawn(3), include=False),
    ]


def case_of(services: Services, number: int = 0) -> str:
    return services.cases.all()[number].case.id


@pytest.mark.parametrize("model", ["fake", "nninteractive"])
def test_after_a_restart_the_next_prompt_gives_the_same_mask(start: Opener, model: str) -> None:
    """The same prompts in one go are the known value: no restart lies between them."""
    prompts = every_kind()
    services = start()
    straight = services.prompting.open("bo", case_of(services), model, OPTIONS[model], ANA)
    Steps(services).add(straight, "bo", prompts)
    expected = Steps(services).mask(straight, "bo")

    session = services.prompting.open("ana", case_of(services), model, OPTIONS[model], ANA)
    Steps(services).add(session, "ana", prompts[:3])
    before = Steps(services).mask(session, "ana")
    services = start()
    assert services.prompting.memory == (0, 0)
    assert np.array_equal(Steps(services).mask(session, "ana"), before)
    services = start()
    Steps(services).add(session, "ana", prompts[3:])
    assert expected.any()
    assert np.array_equal(Steps(services).mask(session, "ana"), expected)


def test_undo_reset_and_notes_are_replayed_too(start: Opener) -> None:
    services = start()
    prompting, case_id = services.prompting, case_of(services)
    session = prompting.open("ana", case_id, "nninteractive", OPTIONS["nninteractive"], ANA)
    Steps(services).add(session, "ana", [Point((1, 2, 3))])
    Steps(services).reset(session, "ana")
    Steps(services).add(session, "ana", [Point((4, 10, 8)), Point((6, 3, 3))])
    Steps(services).undo(session, "ana")
    assert Steps(services).undo(session, "ana") is None
    Steps(services).set_options(session, "ana", {"autozoom": False})
    Steps(services).add(session, "ana", [Scribble(*drawn(5))], predict=False)
    Steps(services).predict(session, "ana")
    expected = Steps(services).mask(session, "ana")
    assert expected.any()
    assert np.array_equal(Steps(start()).mask(session, "ana"), expected)


def test_a_line_that_a_kill_cut_off_is_as_if_it_had_not_been(start: Opener, tmp_path: Path) -> None:
    services = start()
    session = services.prompting.open("ana", case_of(services), "fake", NO_OPTIONS, ANA)
    Steps(services).add(session, "ana", [Point((4, 10, 8))])
    (log,) = (tmp_path / "workspace" / "sessions").glob("*/log.jsonl")
    with log.open("a") as stream:
        stream.write('{"step":"add","predict":true,"unchec')
    services = start()
    assert Steps(services).mask(session, "ana").sum() == 125
    Steps(services).add(session, "ana", [Point((1, 2, 2))])  # on a line of its own, or it would be lost with the cut
    expected = Steps(services).mask(session, "ana")
    assert np.array_equal(Steps(start()).mask(session, "ana"), expected)


@pytest.mark.parametrize("after", [[], [Point((6, 3, 3))]], ids=["undone last", "and went on"])
@pytest.mark.parametrize("model", ["fake", "nninteractive"])
def test_an_initial_mask_that_was_undone_takes_nothing_with_it(start: Opener, model: str, after: list[Prompt]) -> None:
    services = start()
    prompting = services.prompting
    session = prompting.open("ana", case_of(services), model, OPTIONS[model], ANA)
    Steps(services).add(session, "ana", [Point((4, 10, 8)), every_kind()[0]])
    Steps(services).undo(session, "ana")
    Steps(services).add(session, "ana", after)
    expected = Steps(services).mask(session, "ana")
    assert expected.any()
    assert np.array_equal(Steps(start()).mask(session, "ana"), expected)


def test_a_step_that_could_not_be_logged_has_not_happened(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    services = start()
    session = services.prompting.open("ana", case_of(services), "fake", NO_OPTIONS, ANA)
    Steps(services).add(session, "ana", [Point((4, 10, 8))])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SessionLog, "append", full)
        with pytest.raises(OSError, match="No space"):
            Steps(services).add(session, "ana", [Point((1, 2, 2))])
    assert Steps(services).mask(session, "ana").sum() == 125


def test_a_session_that_was_forgotten_is_not_an_empty_one(start: Opener) -> None:
    services = start(idle_seconds=1e-9, keep_seconds=1e-9)
    session = services.prompting.open("ana", case_of(services), "fake", NO_OPTIONS, ANA)
    Steps(services).add(session, "ana", [Point((4, 10, 8))])
    services.prompting.sweep()
    with pytest.raises(UnknownSession, match="forgotten"):
        Steps(services).mask(session, "ana")


def test_idle_sessions_give_memory_back_and_come_back(start: Opener) -> None:
    services = start(idle_seconds=1e-9)
    session = services.prompting.open("ana", case_of(services), "fake", NO_OPTIONS, ANA)
    Steps(services).add(session, "ana", [Point((4, 10, 8))])
    packed = Steps(services).packed_gzip(session, "ana")
    services.prompting.sweep()
    assert services.prompting.memory == (0, 0)
    assert Steps(services).packed_gzip(session, "ana") == packed
    services.prompting.sweep()
    assert Steps(services).add(session, "ana", [Point((1, 2, 2))]).region == Region((0, 0, 0), (4, 5, 5))


def test_sessions_in_the_way_are_parked_unless_they_are_in_use(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 4 * int(np.prod(SHAPE))
    services = start(max_bytes=64 * 2**20)
    monkeypatch.setattr("app.services.prompting.service.BUSY_SECONDS", 0.0)
    prompting = services.prompting
    monkeypatch.setattr(prompting, "_settings", services.settings.sessions.model_copy(update={"max_bytes": 2 * size}))
    sessions = {who: prompting.open(who, case_of(services), "fake", NO_OPTIONS, ANA) for who in ("ana", "bo", "cy")}
    assert prompting.memory == (2, 2 * size)
    Steps(services).add(sessions["ana"], "ana", [Point((4, 10, 8))])
    assert prompting.memory == (2, 2 * size)
    assert not prompting.is_open(sessions["bo"])
    monkeypatch.setattr("app.services.prompting.service.BUSY_SECONDS", 60.0)
    with pytest.raises(ResourceExhausted, match="in use by others"):
        Steps(services).mask(sessions["bo"], "bo")
    assert Steps(services).mask(sessions["ana"], "ana").sum() == 125


def test_change_is_the_box_of_all_prompts(start: Opener) -> None:
    services = start()
    session = services.prompting.open("ana", case_of(services), "fake", NO_OPTIONS)
    change = Steps(services).add(session, "ana", [Point((3, 3, 3)), Point((6, 12, 9))])
    assert change.region == Region((1, 1, 1), (9, 15, 12))
    assert change.voxels is not None
    assert np.array_equal(change.voxels, Steps(services).mask(session, "ana")[change.region.slices])
    assert Steps(services).add(session, "ana", [Point((3, 3, 3))]).region is None


class TestSentImages:
    """Images that a viewer sent, in its own order of axes and type, of a case of the archive."""

    def image(self, services: Services, axes: tuple[int, int, int], *, placed: bool = False) -> Volume:
        volume = services.cases.volume(case_of(services, 1))
        voxels = volume.voxels.astype(np.float32)[:, ::-1].transpose(axes)
        return Volume(voxels, Geometry((voxels.shape[0], voxels.shape[1], voxels.shape[2]), np.eye(4)))

    def opened(self, services: Services, who: str = "x") -> str:
        image = SentImage(self.image(services, (0, 1, 2)), placed=False)
        return services.prompting.open(who, image, "fake", NO_OPTIONS, ANA)

    def test_the_label_lands_on_the_case_with_these_voxels(self, start: Opener, archive: MemoryArchive) -> None:
        services = start()
        image = self.image(services, (2, 0, 1))
        session = services.prompting.open("x", SentImage(image, placed=False), "fake", NO_OPTIONS, ANA)
        clicked = (7, 3, 14)  # i, k and the reversed j
        Steps(services).add(session, "x", [Point(clicked)])
        label, matched = services.sessions.submit(session, "liver")
        assert matched
        assert (label.case_id, label.author, label.client) == (case_of(services, 1), "ana", "a viewer")
        expected = np.zeros(SHAPE, np.uint8)
        row = SHAPE[1] - 1 - clicked[2]
        expected[1:6, row - 2 : row + 3, 5:10] = 1
        assert np.array_equal(services.labels.mask(label).labelmap(), expected)
        assert services.sessions.get(session).label_id == label.id

    def test_its_case_is_told_once_it_is_known_also_after_a_restart(self, start: Opener) -> None:
        services = start()
        session = self.opened(services)
        Steps(services).add(session, "x", [Point((4, 4, 4))])
        assert services.sessions.matched(services.sessions.get(session)) is None
        label, _ = services.sessions.submit(session, "liver")
        assert services.sessions.matched(services.sessions.get(session)) == label.case_id
        services = start()
        assert services.sessions.matched(services.sessions.get(session)) == label.case_id
        services.labels.delete(label.case_id, label.tag, "ana")
        assert services.sessions.matched(services.sessions.get(session)) is None

    def test_an_image_that_is_nowhere_becomes_a_case(self, start: Opener) -> None:
        services = start()
        voxels = np.random.default_rng(5).normal(size=(5, 6, 7)).astype(np.float32)
        image = Volume(voxels, Geometry((5, 6, 7), np.diag([1.0, 2.0, 3.0, 1.0])))
        session = services.prompting.open("x", SentImage(image, placed=True), "fake", NO_OPTIONS, ANA)
        Steps(services).add(session, "x", [Point((2, 3, 3))])
        assert len(services.cases.all()) == 2
        label, matched = services.sessions.submit(session, "liver", comment="mine")
        assert not matched
        assert label.case_id in {row.case.id for row in services.cases.all()}
        assert np.array_equal(services.cases.volume(label.case_id).voxels, voxels)
        assert label.comment == "mine"

    def test_the_same_voxels_twice_are_one_case(self, start: Opener) -> None:
        services = start()
        sessions = [self.opened(services, who) for who in ("x", "y")]
        assert len({services.prompting.record(session).case_id for session in sessions}) == 1

    def test_it_survives_a_restart_and_is_found_by_its_owner(self, start: Opener) -> None:
        services = start()
        session = self.opened(services)
        Steps(services).add(session, "x", [Point((4, 4, 4))])
        services = start()
        with services.prompting.slot("x") as slot:
            assert slot.session.record.id == session
        with services.prompting.slot("y") as slot:
            assert slot.empty
        assert Steps(services).mask(session, "x").sum() == 125

    def test_nothing_segmented_is_no_label(self, start: Opener) -> None:
        services = start()
        session = self.opened(services)
        with pytest.raises(BadInput, match="nothing is segmented"):
            services.sessions.submit(session, "liver")

    def test_a_constant_image_is_refused_and_leaves_nothing(self, start: Opener, tmp_path: Path) -> None:
        services = start()
        image = Volume(np.full((4, 5, 6), 7.0, np.float32), Geometry((4, 5, 6), np.eye(4)))
        with pytest.raises(BadInput):
            services.prompting.open("x", SentImage(image, placed=False), "fake", NO_OPTIONS, ANA)
        assert services.prompting.log.newest("x") is None
        assert not list((tmp_path / "workspace" / "sessions").iterdir())


def test_closed_without_a_prompt_nothing_is_left_and_with_one_it_can_be_submitted(start: Opener) -> None:
    services = start()
    prompting = services.prompting
    empty = prompting.open("ana", case_of(services), "fake", NO_OPTIONS, ANA)
    prompting.close(empty, "ana")
    with pytest.raises(UnknownSession):
        services.sessions.get(empty)
    used = prompting.open("ana", case_of(services), "fake", NO_OPTIONS, ANA)
    Steps(services).add(used, "ana", [Point((4, 10, 8))])
    prompting.close(used, "ana")
    assert prompting.log.newest("ana") is None
    with prompting.slot("ana") as slot:
        assert slot.empty
    (listed,) = services.sessions.listed()
    assert (listed.record.id, listed.steps, listed.open, listed.label_id) == (used, 1, False, None)
    label, matched = services.sessions.submit(listed.record.name, "liver")
    assert matched
    assert services.labels.mask(label).labelmap().sum() == 125
    services.sessions.forget(listed.record.name)
    assert services.sessions.listed() == []
