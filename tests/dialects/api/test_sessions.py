"""Prompt sessions over the wire: voxels, names, and what is told to whom."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.dialects.api.calls import API, bits, get, mask, opened_session, post, prompt, unzipped
from tests.dialects.monailabel.site import SHAPE, Site, opened

ANA = {"X-Segloop-User": "Ana%20Mar%C3%ADa", "X-Segloop-Client": "panel"}
POINT = {"type": "point", "at": [4, 10, 8], "include": True}


def cube(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    return voxels


def test_a_session_is_opened_with_the_servers_own_model(site: Site) -> None:
    session = post(site, "/sessions", {"case_id": site.series}, 201)
    assert session["model"] == "clicks"
    assert session["shape"] == list(SHAPE)
    assert len(session["id"]) >= 24
    assert session["name"] not in session["id"]


def test_a_point_changes_the_cube_around_it(site: Site) -> None:
    session = opened_session(site)
    change = prompt(site, session, POINT)
    assert change["region"] == {"low": [2, 8, 6], "high": [7, 13, 11]}
    assert (unzipped(change["voxels"], (5, 5, 5)) == 1).all()
    assert change["seconds"] >= 0
    np.testing.assert_array_equal(mask(site, session), cube((2, 8, 6), (7, 13, 11)))


def test_a_change_is_the_mask_as_it_is_now(site: Site) -> None:
    """Two prompts in one call: the answer holds both, the hole too."""
    session = opened_session(site)
    box = {"type": "box", "low": [3, 9, 7], "high": [5, 12, 9], "include": False}
    change = prompt(site, session, POINT, box)
    expected = cube((2, 8, 6), (7, 13, 11))
    expected[3:5, 9:12, 7:9] = 0
    low, high = change["region"]["low"], change["region"]["high"]
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    shape = [b - a for a, b in zip(low, high, strict=True)]
    np.testing.assert_array_equal(unzipped(change["voxels"], shape), expected[inside])
    np.testing.assert_array_equal(mask(site, session), expected)


def test_noted_prompts_change_nothing_until_the_next_prediction(site: Site) -> None:
    session = opened_session(site)
    assert prompt(site, session, POINT, predict=False)["region"] is None
    assert not mask(site, session).any()
    prompt(site, session, {"type": "point", "at": [4, 10, 9], "include": True})
    np.testing.assert_array_equal(mask(site, session), cube((2, 8, 6), (7, 13, 12)))


def test_undo_and_reset(site: Site) -> None:
    session = opened_session(site)
    prompt(site, session, POINT)
    undone = post(site, f"/sessions/{session}/undo")
    assert undone["undone"]
    assert undone["region"] == {"low": [2, 8, 6], "high": [7, 13, 11]}
    assert not unzipped(undone["voxels"], (5, 5, 5)).any()
    again = post(site, f"/sessions/{session}/undo")
    assert (again["undone"], again["region"], again["voxels"]) == (False, None, None)
    prompt(site, session, POINT)
    post(site, f"/sessions/{session}/reset", status=204)
    assert not mask(site, session).any()


def test_every_step_is_undone_and_made_again(site: Site) -> None:
    """Prompts, changes by hand and a reset, past many of each; a new step drops what was undone."""
    session = opened_session(site)
    stroke = np.random.default_rng(1).random((1, 6, 5)) > 0.5
    brush = {"low": [1, 2, 3], "high": [2, 8, 8], "voxels": bits(stroke)}
    prompt(site, session, POINT, {"type": "point", "at": [4, 10, 9], "include": True})
    edited = post(site, f"/sessions/{session}/edit", brush)
    assert (edited["region"], edited["undoable"], edited["redoable"]) == (
        {"low": [1, 2, 3], "high": [2, 8, 8]},
        3,
        0,
    )
    expected = cube((2, 8, 6), (7, 13, 12))
    expected[1:2, 2:8, 3:8] = stroke
    np.testing.assert_array_equal(mask(site, session), expected)
    post(site, f"/sessions/{session}/reset", status=204)
    assert not mask(site, session).any()

    undone = [post(site, f"/sessions/{session}/undo") for _ in range(5)]
    assert [(one["undone"], one["undoable"], one["redoable"]) for one in undone] == [
        (True, 3, 1),
        (True, 2, 2),
        (True, 1, 3),
        (True, 0, 4),
        (False, 0, 4),
    ]
    assert not mask(site, session).any()
    redone = [post(site, f"/sessions/{session}/redo") for _ in range(3)]
    assert [(one["redone"], one["undoable"], one["redoable"]) for one in redone] == [
        (True, 1, 3),
        (True, 2, 2),
        (True, 3, 1),
    ]
    np.testing.assert_array_equal(mask(site, session), expected)

    post(site, f"/sessions/{session}/undo")
    assert prompt(site, session, {**POINT, "include": False})["redoable"] == 0
    redo = post(site, f"/sessions/{session}/redo")
    assert (redo["redone"], redo["region"], redo["voxels"]) == (False, None, None)
    assert redo["undoable"] == 3


def test_a_batch_is_one_step_and_what_is_said_lasts_until_the_voxels_change(site: Site) -> None:
    session = opened_session(site)
    assert post(site, f"/sessions/{session}/say", {"said": "absent"})["said"] == "absent"
    brush = {"low": [1, 2, 3], "high": [2, 3, 4], "voxels": bits(np.ones((1, 1, 1), bool)), "batch": "b1"}
    assert post(site, f"/sessions/{session}/edit", brush)["said"] == ""
    cut = {**brush, "voxels": bits(np.zeros((1, 1, 1), bool)), "shown": True}
    assert post(site, f"/sessions/{session}/edit", cut)["undoable"] == 2
    assert post(site, f"/sessions/{session}/say", {"said": "guessed", "batch": "b1"})["undoable"] == 2
    undone = post(site, f"/sessions/{session}/undo")
    assert (undone["said"], undone["undoable"], undone["redoable"]) == ("absent", 1, 1)
    assert not mask(site, session).any()
    redone = post(site, f"/sessions/{session}/redo")
    assert (redone["said"], redone["undoable"], redone["redoable"]) == ("guessed", 2, 0)


def test_a_change_by_hand_that_does_not_fit_is_refused(site: Site) -> None:
    session = opened_session(site)
    for brush, told in (
        ({"low": [0, 0, 0], "high": [3, 3, 17], "voxels": "AAAA"}, "not within"),
        ({"low": [0, 0, 0], "high": [1, 4, 4], "voxels": "A" * 400}, "2 bytes of bits"),
    ):
        assert told in post(site, f"/sessions/{session}/edit", brush, 400)["detail"]
    assert post(site, f"/sessions/{session}/undo")["undone"] is False


def test_options_reach_the_model_and_wrong_ones_are_told(site: Site) -> None:
    asked = {"case_id": "case 07", "model": "clicks", "options": {"radius": 0}}
    session = post(site, "/sessions", asked, 201)["id"]
    assert prompt(site, session, POINT)["region"] == {"low": [4, 10, 8], "high": [5, 11, 9]}
    told = post(site, "/sessions", {**asked, "options": {"radius": "wide"}}, 400)["detail"]
    assert "radius" in told


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"case_id": "nowhere"}, 404, "nowhere"),
        ({"case_id": "case 07", "model": "nothing"}, 404, "nothing"),
        ({"case_id": "case 07", "model": "bands"}, 501, "takes no prompts"),
        ({}, 422, "case_id"),
    ],
)
def test_sessions_that_cannot_be_opened(site: Site, body: dict, status: int, told: str) -> None:
    assert told in post(site, "/sessions", body, status)["detail"]


def test_only_who_has_the_id_gets_in(site: Site) -> None:
    """Neither a session's name nor another viewer's session is of any use for prompting."""
    opened = post(site, "/sessions", {"case_id": "case 07"}, 201)
    foreign = site.services.prompting.open("itksnap:7", "case 07", "clicks", {})
    for wrong in (opened["name"], foreign, "nonsense"):
        for path in ("prompts", "undo", "redo", "reset"):
            body = {"prompts": [POINT]} if path == "prompts" else None
            assert "over" in post(site, f"/sessions/{wrong}/{path}", body, 404)["detail"]
        assert site.client.get(f"{API}/sessions/{wrong}/mask").status_code == 404
        assert site.client.delete(f"{API}/sessions/{wrong}").status_code == 404


def test_the_listing_tells_names_and_no_ids(fresh: Site) -> None:
    opened = post(fresh, "/sessions", {"case_id": "case 07"}, 201, headers=ANA)
    prompt(fresh, opened["id"], POINT, {"type": "point", "at": [1, 1, 1]})
    answer = fresh.client.get(f"{API}/sessions")
    (row,) = answer.json()
    assert (row["name"], row["who"], row["client"]) == (opened["name"], "Ana María", "panel")
    assert (row["case_id"], row["matched_case_id"], row["model"]) == ("case 07", "case 07", "clicks")
    assert (row["steps"], row["open"], row["label_id"]) == (2, True, None)
    assert row["opened"] <= row["used"]
    assert opened["id"] not in answer.text
    assert "api:" not in answer.text
    assert get(fresh, f"/sessions/{row['name']}") == row
    assert get(fresh, f"/sessions/{opened['id']}")["name"] == row["name"]


def test_the_listing_has_a_limit(fresh: Site) -> None:
    names = [post(fresh, "/sessions", {"case_id": "case 07"}, 201)["name"] for _ in range(3)]
    assert [row["name"] for row in get(fresh, "/sessions", params={"limit": 2})] == names[:0:-1]
    assert "limit" in get(fresh, "/sessions", 422, params={"limit": 0})["detail"]


def test_without_a_name_the_machine_counts(fresh: Site) -> None:
    opened_session(fresh)
    (row,) = get(fresh, "/sessions")
    assert row["who"].startswith("browser@")
    assert row["client"] == "browser"


def test_the_path_can_name_the_person(fresh: Site) -> None:
    assert fresh.client.post(f"/u/bo{API}/sessions", json={"case_id": "case 07"}).status_code == 201
    assert get(fresh, "/sessions")[0]["who"] == "bo"


def test_closing_gives_memory_back_and_keeps_what_was_done(fresh: Site) -> None:
    session = opened_session(fresh)
    prompt(fresh, session, POINT)
    assert get(fresh, "/device")["sessions_open"] == 1
    assert fresh.client.delete(f"{API}/sessions/{session}").status_code == 204
    assert get(fresh, "/device")["sessions_open"] == 0
    (row,) = get(fresh, "/sessions")
    assert (row["open"], row["steps"]) == (False, 1)


@pytest.mark.parametrize("address", [API, "/api"])
@pytest.mark.parametrize("by", ["id", "name"])
def test_a_session_becomes_a_label(fresh: Site, address: str, by: str) -> None:
    opened = post(fresh, "/sessions", {"case_id": fresh.series}, 201, headers=ANA)
    prompt(fresh, opened["id"], POINT)
    body = {"structure": "spleen", "comment": "all of it"}
    answer = fresh.client.post(f"{address}/sessions/{opened[by]}/label", json=body)
    assert answer.status_code == 201, answer.text
    label = answer.json()
    assert label["matched"]
    assert (label["case_id"], label["tag"], label["number"]) == (fresh.series, "final", 1)
    assert (label["author"], label["client"], label["model"]) == ("Ana María", "panel", "clicks")
    assert (label["structures"], label["comment"]) == (["spleen"], "all of it")
    assert get(fresh, "/sessions")[0]["label_id"] == label["id"]
    (stored,) = fresh.services.labels.history(fresh.series)
    np.testing.assert_array_equal(fresh.services.labels.mask(stored).labelmap(), cube((2, 8, 6), (7, 13, 11)))


def test_a_label_without_a_structure_is_refused(fresh: Site) -> None:
    session = opened_session(fresh)
    prompt(fresh, session, POINT)
    refused = post(fresh, f"/sessions/{session}/label", {}, 400)["detail"]
    assert refused == "nothing says which structure this is: send its name. This project's structures: liver, spleen"
    refused = post(fresh, f"/sessions/{session}/label", {"structure": "livr"}, 400)["detail"]
    assert "no structure 'livr'. Did you mean liver?" in refused
    assert get(fresh, "/labels") == []
    label = post(fresh, f"/sessions/{session}/label", {"structure": "spleen"}, 201)
    assert label["states"] == {"liver": "not_examined", "spleen": "segmented"}


def test_the_only_structure_needs_no_name(tmp_path: Path) -> None:
    labels = {"structures": ["liver"], "unmarked": "absent"}
    with opened(tmp_path, labels=labels, models={"clicks": {"type": "fake"}}) as site:
        session = opened_session(site)
        prompt(site, session, POINT)
        assert post(site, f"/sessions/{session}/label", {}, 201)["structures"] == ["liver"]


def test_an_empty_session_is_no_label(site: Site) -> None:
    session = opened_session(site)
    assert "nothing is segmented" in post(site, f"/sessions/{session}/label", {}, 400)["detail"]
    assert "sessions list" in post(site, "/sessions/nonsense/label", {}, 404)["detail"]


def test_the_mask_is_one_gzip_stream(site: Site) -> None:
    session = opened_session(site)
    prompt(site, session, POINT)
    with site.client.stream("GET", f"{API}/sessions/{session}/mask") as answer:
        raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == cube((2, 8, 6), (7, 13, 11)).tobytes()
