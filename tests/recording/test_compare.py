"""Which differences are found, and which may be accepted."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recording.bodies import described
from tests.recording.compare import Accepted, Difference, Noted, differences

ANSWER: dict[str, Any] = {"status": 200, "headers": {"content-type": "application/json"}, "body": {"total": 3}}


def found(old: Any, new: Any) -> list[Difference]:
    before, after = ([Noted("script", "GET /", answer)] for answer in (old, new))
    return list(differences(before, after))


def body(old: Any, new: Any) -> list[Difference]:
    return found({**ANSWER, "body": old}, {**ANSWER, "body": new})


def test_the_same_is_no_difference() -> None:
    assert found(ANSWER, dict(ANSWER)) == []


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"status": 201}, "status"),
        ({"headers": {"content-type": "text/plain"}}, "headers.content-type"),
        ({"headers": {}}, "headers.content-type"),
        ({"body": {"total": 4}}, "body.total"),
        ({"body": {"total": 3.0}}, "body.total"),
        ({"body": {"count": 3}}, "body.total"),
        ({"body": {"total": 3, "more": 1}}, "body.more"),
    ],
)
def test_status_header_field_and_type_are_the_wire(changed: dict[str, Any], path: str) -> None:
    first = found(ANSWER, {**ANSWER, **changed})[0]
    assert (first.kind, first.path) == ("wire", path)
    assert not Accepted([(str(first.old), str(first.new))], frozenset({path})).takes(first)


def test_one_voxel_is_found_behind_any_packing() -> None:
    voxels = np.zeros((4, 5, 6), np.uint8)
    other = voxels.copy()
    other[1, 2, 3] = 1
    raw, fast, changed = (gzip.compress(*args, mtime=0) for args in ((voxels, 9), (voxels, 1), (other, 9)))
    assert body(described(raw), described(fast)) == []
    assert [one.path for one in body(described(raw), described(changed))] == ["body.gzip.sha256"]


def test_requests_that_are_missing_are_found() -> None:
    noted = [Noted("script", "GET /", ANSWER)] * 2
    (one,) = differences(noted, noted[:1])
    assert (one.kind, one.old, one.new) == ("wire", "GET /", "(not sent)")


def test_a_request_more_does_not_move_the_others() -> None:
    old = [Noted("script", request, ANSWER) for request in ("GET /a", "GET /c")]
    help_of_a_command = Noted("script", "segloop new --help", ANSWER)
    (one,) = differences(old, [old[0], help_of_a_command, old[1]])
    assert (one.kind, one.path) == ("addition", "segloop new --help")


def test_wording_is_accepted_only_if_it_is_listed() -> None:
    (one,) = body({"detail": "no image 'a' here"}, {"detail": "image 'a' not found"})
    assert one.kind == "wording"
    assert not Accepted().takes(one)
    assert Accepted([("no image {name} here", "image {name} not found")]).takes(one)


def test_what_stands_in_a_gap_has_to_stay() -> None:
    (one,) = body({"detail": "no image 'a' here"}, {"detail": "image 'b' not found"})
    assert not Accepted([("no image {name} here", "image {name} not found")]).takes(one)


@pytest.mark.parametrize("text", ["No image uploaded", "Model not found: x"])
def test_a_text_that_clients_look_for_is_never_wording(text: str) -> None:
    (one,) = body({"message": text}, {"message": "something else"})
    assert one.kind == "wire"


def test_a_text_that_is_gone_is_no_wording() -> None:
    assert [one.kind for one in body({"detail": "no image"}, {"detail": ""})] == ["wire"]


def test_growing_lists_may_grow_and_not_shrink() -> None:
    (more,) = body({"commands": {"serve": 1}}, {"commands": {"serve": 1, "migrate": 2}})
    (less,) = body({"commands": {"serve": 1, "migrate": 2}}, {"commands": {"serve": 1}})
    assert (more.kind, less.kind) == ("addition", "wire")
    assert Accepted(added=frozenset({"body.commands.migrate"})).takes(more)


def test_a_list_tells_what_came_and_went() -> None:
    (one,) = body(["a", "b", "c"], ["a", "c"])
    assert (one.old, one.new) == (['"b"'], [])


def test_the_list_of_what_is_accepted_can_be_read() -> None:
    assert Accepted.read(Path(__file__).with_name("reworded.toml")) is not None


def test_fields_that_were_added_are_accepted_by_name() -> None:
    old, new = [{"id": 1}], [{"id": 1, "states": {"liver": "absent"}}]
    (more,) = body(old, new)
    (less,) = body(new, old)
    accepted = Accepted(fields=frozenset({"states"}))
    assert (accepted.takes(more), accepted.takes(less), Accepted().takes(more)) == (True, False, False)
