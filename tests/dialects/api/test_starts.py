"""Sessions that start from a mask that the server has or makes; what follows are prompts like any others."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from app.core.prompt import Point
from app.models.fake import FakeInteractive
from tests.dialects.api.calls import API, get, mask, opened_session, post, prompt, unzipped
from tests.dialects.monailabel.site import SHAPE, Site
from tests.services.two_models import without_snapshots

ERASER = {"type": "box", "low": [0, 0, 0], "high": [2, 20, 16], "include": False}
BANDS = {"model": "bands", "structure": "spleen"}


def segmented(site: Site) -> np.ndarray:
    """The automatic model's own answer for the spleen."""
    answer = post(site, f"/cases/{site.series}/segment", {"model": "bands"})
    assert answer["labels"] == {"liver": 1, "spleen": 2}
    return (unzipped(answer["voxels"], SHAPE) == 2).astype(np.uint8)


def labelled(site: Site, voxels: np.ndarray, structures: str = "liver,spleen") -> int:
    answer = site.client.post(
        f"{API}/cases/{site.series}/labels",
        params={"structures": structures},
        content=gzip.compress(voxels.astype(np.uint8).tobytes()),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def two_structures() -> np.ndarray:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[2:5, 4:9, 3:8] = 1
    voxels[5:7, 10:14, 6:12] = 2
    return voxels


def test_a_session_opens_on_what_a_model_segments(fresh: Site) -> None:
    expected = segmented(fresh)
    asked = {"case_id": fresh.series, "model": "clicks", "start": BANDS}
    session = post(fresh, "/sessions", asked, 201)["id"]
    np.testing.assert_array_equal(mask(fresh, session), expected)
    assert expected.any()

    prompt(fresh, session, ERASER)
    expected[:2] = 0
    np.testing.assert_array_equal(mask(fresh, session), expected)


def test_an_open_session_takes_a_structure_of_a_label_and_undo_takes_it_back(fresh: Site) -> None:
    voxels = two_structures()
    label = labelled(fresh, voxels)
    session = opened_session(fresh, fresh.series)
    prompt(fresh, session, {"type": "point", "at": [4, 10, 8]})
    before = mask(fresh, session)

    change = post(fresh, f"/sessions/{session}/start", {"label_id": label, "structure": "spleen"})
    np.testing.assert_array_equal(mask(fresh, session), voxels == 2)
    low, high = change["region"]["low"], change["region"]["high"]
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    np.testing.assert_array_equal(
        unzipped(change["voxels"], [b - a for a, b in zip(low, high, strict=True)]), (voxels == 2)[inside]
    )
    assert post(fresh, f"/sessions/{session}/undo")["undone"] is True
    np.testing.assert_array_equal(mask(fresh, session), before)


def test_its_log_has_the_mask_so_that_it_comes_back_without_the_model_or_the_label(fresh: Site) -> None:
    voxels = two_structures()
    label = labelled(fresh, voxels)
    session = opened_session(fresh, fresh.series)
    for step, structure in enumerate(("liver", "spleen")):
        post(fresh, f"/sessions/{session}/start", {"label_id": label, "structure": structure})
        prompt(fresh, session, ERASER)
        assert get(fresh, f"/sessions/{session}")["steps"] == 2 * (step + 1)
    expected = mask(fresh, session)
    fresh.services.prompting.close_all()
    without_snapshots(fresh.services)
    np.testing.assert_array_equal(mask(fresh, session), expected)
    post(fresh, f"/sessions/{session}/undo")
    np.testing.assert_array_equal(mask(fresh, session), voxels == 2)


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({}, 400, "name one of them"),
        ({"model": "bands", "label_id": 1}, 400, "name one of them"),
        ({"model": "bands", "structure": "heart"}, 400, "choose one of: liver, spleen"),
        ({"model": "nothing"}, 404, "nothing"),
        ({"label_id": 999}, 404, "999"),
        ({"model": "untrained"}, 503, "untrained"),
        ({"model": "bands", "structur": "liver"}, 422, "structur"),
    ],
)
def test_a_start_that_can_t_be_changes_nothing(fresh: Site, asked: dict[str, object], status: int, says: str) -> None:
    session = opened_session(fresh, fresh.series)
    prompt(fresh, session, {"type": "point", "at": [4, 10, 8]})
    before, sessions = mask(fresh, session), len(get(fresh, "/sessions"))
    answer = fresh.client.post(f"{API}/sessions/{session}/start", json=asked)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text
    opening = {"case_id": fresh.series, "model": "clicks", "start": asked}
    assert fresh.client.post(f"{API}/sessions", json=opening).status_code == status
    np.testing.assert_array_equal(mask(fresh, session), before)
    assert len(get(fresh, "/sessions")) == sessions


def test_a_label_of_several_structures_needs_one_named_and_of_this_case(fresh: Site) -> None:
    label = labelled(fresh, two_structures())
    session = opened_session(fresh, fresh.series)
    answer = fresh.client.post(f"{API}/sessions/{session}/start", json={"label_id": label})
    assert (answer.status_code, answer.json()["detail"]) == (400, "choose one of: liver, spleen")
    other = next(case for case in fresh.truth if case != fresh.series)
    elsewhere = opened_session(fresh, other)
    answer = fresh.client.post(f"{API}/sessions/{elsewhere}/start", json={"label_id": label, "structure": "liver"})
    assert answer.status_code == 400
    assert "another case" in answer.json()["detail"]


def test_a_model_without_initial_masks_refuses_and_no_session_is_left(
    fresh: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeInteractive, "accepts", frozenset({Point}))
    sessions = len(get(fresh, "/sessions"))
    asked = {"case_id": fresh.series, "model": "clicks", "start": BANDS}
    answer = fresh.client.post(f"{API}/sessions", json=asked)
    assert answer.status_code == 400, answer.text
    assert len(get(fresh, "/sessions")) == sessions
