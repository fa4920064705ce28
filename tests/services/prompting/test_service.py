"""Who has a session has it alone, whichever way leads to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.core.prompt import Point
from app.core.volume import Geometry, Volume
from app.errors import UnknownModel, UnknownSession
from app.services import Services
from app.services.prompting import service as module
from app.services.prompting.images import SentImage
from app.services.prompting.log import Viewer
from app.settings import ModelSettings, Settings
from tests.catalog_counts import counted
from tests.dicom.synthetic import ct_series

SHAPE = (9, 20, 16)
ANA = Viewer("a viewer", "ana")


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(
        workspace=tmp_path / "workspace",
        device="cpu",
        models={"fake": ModelSettings(type="fake")},
        labels={"structures": ["liver"]},  # type: ignore[arg-type]
    )
    opened = Services.open(settings, MemoryArchive([ct_series(SHAPE)[0]]))
    opened.sync.run()
    yield opened
    opened.stop()


def case_of(services: Services) -> str:
    return services.cases.all()[0].case.id


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to that")


def test_everything_in_one_block_is_one_step(services: Services) -> None:
    session_id = services.prompting.open("ana", case_of(services), "fake", {}, ANA)
    seen: list[int] = []

    def other() -> None:
        with services.prompting.session(session_id, "ana") as session:
            session.add([Point((8, 19, 15))])
            seen.append(int(session.mask.sum()))

    with services.prompting.session(session_id, "ana") as session:
        session.add([Point((4, 10, 8))])
        thread = in_thread(other)
        wait_for(lambda: services.prompting.waiting(session_id) == 1)
        assert session.waiting == 1  # whoever works on a prompt can see it
        assert session.mask.sum() == 125
        session.reset()
        assert not session.mask.any()
    thread.join()
    assert seen == [27]
    assert services.prompting.waiting(session_id) == 0


def test_the_mask_can_t_be_written_to(services: Services) -> None:
    session_id = services.prompting.open("ana", case_of(services), "fake", {})
    with services.prompting.session(session_id, "ana") as session, pytest.raises(ValueError, match="read-only"):
        session.mask[0, 0, 0] = 1


def test_a_closed_session_is_over_for_who_waits(services: Services) -> None:
    session_id = services.prompting.open("ana", case_of(services), "fake", {})
    refused: list[bool] = []

    def prompt() -> None:
        with pytest.raises(UnknownSession), services.prompting.session(session_id, "ana"):
            raise AssertionError("it was closed")
        refused.append(True)

    with services.prompting.session(session_id, "ana"):
        closing = in_thread(lambda: services.prompting.close(session_id, "ana"))
        wait_for(lambda: services.prompting.waiting(session_id) == 1)
    closing.join()
    in_thread(prompt).join()
    assert refused == [True]


def test_an_owner_has_one_turn_at_a_time_in_a_slot(services: Services) -> None:
    order: list[str] = []
    inside, go = threading.Event(), threading.Event()

    def first() -> None:
        with services.prompting.slot("ana") as slot:
            slot.open(case_of(services), "fake", {}, ANA)
            inside.set()
            go.wait(5)
            slot.session.add([Point((4, 10, 8))])
            order.append("first")

    def second() -> None:
        with services.prompting.slot("ana") as slot:
            order.append(f"second sees {int(slot.session.mask.sum())} voxels")

    threads = [in_thread(first)]
    inside.wait(5)
    threads.append(in_thread(second))
    with services.prompting.slot("ben") as slot:  # somebody else doesn't wait
        assert slot.empty
        order.append("ben")
    with services.prompting.slot("ana", "another") as slot:  # nor does another slot of the same owner
        assert slot.empty
    go.set()
    for thread in threads:
        thread.join()
    assert order == ["ben", "first", "second sees 125 voxels"]


def test_a_new_image_takes_the_place_of_the_one_before(services: Services) -> None:
    voxels = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10)
    image = SentImage(Volume(voxels, Geometry(voxels.shape, np.eye(4))), placed=False)
    with services.prompting.slot("ana") as slot:
        before = slot.open(case_of(services), "fake", {}, ANA).record.id
        slot.session.note = "of the first image"
        after = slot.open(image, "fake", {}, ANA)
        assert (after.shape, after.note) == ((8, 9, 10), None)
    assert not services.prompting.is_open(before)
    with services.prompting.slot("ana") as slot:
        assert slot.session.record.id == after.record.id
        slot.close()
        with pytest.raises(UnknownSession):
            slot.session.reset()
    with services.prompting.slot("ana") as slot:
        assert slot.empty


def test_a_slot_is_empty_after_its_image_was_refused(services: Services) -> None:
    image = SentImage(Volume(np.zeros((8, 9, 10), np.int16), Geometry((8, 9, 10), np.eye(4))), placed=False)
    with services.prompting.slot("ana") as slot:
        slot.open(case_of(services), "fake", {}, ANA)
        with pytest.raises(UnknownModel):
            slot.open(image, "gone", {}, ANA)
        assert slot.empty


def test_a_note_outlives_parking(services: Services) -> None:
    with services.prompting.slot("ana") as slot:
        slot.open(case_of(services), "fake", {}, ANA).note = "kept"
        slot.session.add([Point((4, 10, 8))])
    services.prompting.close_all()
    assert services.prompting.memory == (0, 0)
    with services.prompting.slot("ana") as slot:
        assert slot.session.note == "kept"
        assert slot.session.mask.sum() == 125


def test_slots_without_an_open_session_are_forgotten(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SLOTS", 3)
    with services.prompting.slot("ana", "kept") as slot:
        kept = slot.open(case_of(services), "fake", {}).record.id
    for number in range(10):
        with services.prompting.slot(f"visitor {number}", "x"):
            pass
    assert len(services.prompting._slots) <= 5
    with services.prompting.slot("ana", "kept") as slot:
        assert slot.session.record.id == kept


def test_a_prompt_asks_the_catalog_for_nothing(services: Services) -> None:
    session_id = services.prompting.open("ana", case_of(services), "fake", {}, ANA)
    with services.prompting.session(session_id, "ana") as session:
        session.add([Point((4, 10, 8))])
    services.next_case.renew(case_of(services), "ana")
    with counted() as counts:
        with services.prompting.session(session_id, "ana") as session:
            session.add([Point((1, 2, 2))])
        services.next_case.renew(session.record.case_id, "ana")
    assert counts == {"look-ups": 0, "writes": 0}
