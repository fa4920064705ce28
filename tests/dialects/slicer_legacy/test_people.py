"""Who is who without sessions and names."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.dialects.slicer_legacy.people import People
from app.errors import Conflict
from tests.dialects.slicer_legacy.test_endpoints import SHAPE, Person, cube, image, told
from tests.live import FAKE, application


def test_the_bare_path_belongs_to_one_address_at_a_time():
    now = [0.0]
    people = People(idle=60, clock=lambda: now[0])
    assert people.admitted("", "10.0.0.1") == "address 10.0.0.1"
    now[0] = 60
    with pytest.raises(Conflict, match="/u/"):
        people.admitted("", "10.0.0.2")
    assert people.admitted("ben", "10.0.0.2") == "user ben"  # with a name there is no question
    people.admitted("", "10.0.0.1")
    now[0] = 120.5
    people.admitted("", "10.0.0.2")
    with pytest.raises(Conflict):
        people.admitted("", "10.0.0.1")  # the bare path is the second's now


def test_a_name_is_never_taken_for_an_address():
    people = People(idle=60)
    assert people.admitted("10.0.0.1", "x") != people.admitted("", "10.0.0.1")


def test_a_second_address_is_told_to_use_a_name(tmp_path):
    app = application(tmp_path / "workspace", FAKE)
    with TestClient(app, base_url="http://127.0.0.1", client=("10.0.0.1", 1)) as here:
        there = TestClient(app, base_url="http://127.0.0.1", client=("10.0.0.2", 1))
        ana, ben = Person(here, ""), Person(there, "")
        assert ana.upload(image()).json() == {"status": "ok"}
        assert "/u/" in told(ben.upload(image()))
        assert "/u/" in told(ben.point([1, 1, 1]))
        named = Person(there, "/u/ben")
        assert named.upload(image()).json() == {"status": "ok"}
        named.point([3, 4, 5])
        assert ana.mask(ana.point([0, 0, 0])).sum() == cube(SHAPE, (0, 0, 0)).sum()


def test_after_a_restart_nothing_has_to_be_sent_again(tmp_path):
    first = application(tmp_path / "workspace", FAKE)
    with TestClient(first, base_url="http://127.0.0.1") as client:
        ana = Person(client, "/u/ana")
        ana.upload(image())
        ana.point([0, 0, 0])
    with TestClient(application(tmp_path / "workspace", FAKE), base_url="http://127.0.0.1") as client:
        mask = Person(client, "/u/ana").point([3, 4, 5])
        got = Person(client, "/u/ana").mask(mask)
        assert got.sum() == (cube(SHAPE, (0, 0, 0)) | cube(SHAPE, (3, 4, 5))).sum()
        assert told(Person(client, "/u/ben").point([1, 1, 1])) == "No image uploaded"


def test_only_the_newest_image_takes_memory(tmp_path):
    app = application(tmp_path / "workspace", FAKE)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        ana = Person(client, "/u/ana")
        for shape in ((4, 5, 6), (7, 8, 9), (3, 3, 3)):
            ana.upload(image(shape))
            ana.point([1, 1, 1])
        assert app.state.services.prompting.memory[0] == 1
