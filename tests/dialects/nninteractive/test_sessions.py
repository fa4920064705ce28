"""Leases over HTTP, and the paths that two protocols share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.dialects.nninteractive.leases import LeaseTable
from app.settings import ModelSettings
from tests.catalog_counts import counted
from tests.dialects.nninteractive.site import FLAGS, SHAPE, opened

LEASED = {
    "/set_image": None,
    "/set_target_buffer": {"shape": list(SHAPE), "dtype": "uint8"},
    "/set_do_autozoom": {"do_autozoom": True},
    "/add_point_interaction": {"coordinates": [1, 1, 1], **FLAGS},
    "/add_bbox_interaction": {"bbox_coords": [[1, 2], [1, 3], [1, 3]], **FLAGS},
    "/add_scribble_interaction": None,
    "/add_lasso_interaction": None,
    "/add_initial_seg_interaction": None,
    "/predict": {"force_full_refine": False},
    "/undo": {},
    "/reset_interactions": {},
    "/heartbeat": {},
}


@pytest.mark.parametrize("path", [*LEASED, "/lease_status"])
@pytest.mark.parametrize("token", [None, "made up"])
def test_no_lease_is_410(site, path, token):
    headers = {} if token is None else {"X-Lease-Token": token}
    if path == "/lease_status":
        answer = site.client.get(path, headers=headers)
    elif LEASED[path] is None:
        octets = {"Content-Type": "application/octet-stream", **headers}
        answer = site.client.post(path, content=b"x" * 100, headers=octets)
    else:
        answer = site.client.post(path, json=LEASED[path], headers=headers)
    assert answer.status_code == 410, answer.text
    assert isinstance(answer.json()["detail"], str)


def test_claim_says_the_terms(tmp_path):
    terms = {"max_leases": 2, "liveness_seconds": 45.0, "lease_idle_seconds": 900.0}
    with opened(tmp_path / "workspace", sessions=terms) as site:
        claimed = site.client.post("/claim").json()
        assert claimed.pop("lease_token")
        assert claimed == {"idle_timeout_seconds": 900.0, "liveness_timeout_seconds": 45.0, "max_sessions": 2}
        second = site.claim()
        full = site.client.post("/claim")
        assert (full.status_code, full.headers["retry-after"]) == (503, "10")
        assert isinstance(full.json()["detail"], str)
        assert site.client.post("/release", headers=second.headers).json() == {"released": True}
        assert site.client.post("/release", headers=second.headers).json() == {"released": True}
        assert site.client.post("/release").json() == {"released": True}
        assert site.client.post("/claim").status_code == 200


def test_a_lease_that_ends_gives_memory_back_and_keeps_what_was_done(site):
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    prompting = site.services.prompting
    session_id = prompting.log.newest(f"nninteractive:{seated.token}").id
    assert session_id is not None
    assert prompting.is_open(session_id)
    site.client.post("/release", headers=seated.headers)
    assert not prompting.is_open(session_id)
    record = prompting.record(session_id)
    assert (record.viewer.client, record.viewer.who, record.shape) == ("nnInteractive", "testclient", SHAPE)
    assert seated.point([1, 1, 1]).status_code == 410


def test_a_prompt_asks_the_catalog_for_nothing(site):
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    with counted() as counts:
        seated.take(seated.point([4, 6, 9]))
    assert counts == {"look-ups": 0, "writes": 0}


def test_a_session_is_its_users(site):
    seated = site.opened()
    site.client.post("/release", headers=seated.headers)
    named = site.claim()
    named.binary("/u/ana/set_image", np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4))
    session_id = site.services.prompting.log.newest(f"nninteractive:{named.token}").id
    assert site.services.prompting.record(session_id).viewer.who == "ana"


def test_a_session_with_its_memory_taken_goes_on(site):
    """Whatever the server does with idle sessions, the client's buffer stays right."""
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    site.services.prompting.close_all()
    seated.take(seated.point([4, 6, 9]))
    assert (seated.buffer[1, 1, 1], seated.buffer[4, 6, 9]) == (1, 1)
    seated.take(seated.json("/undo", {}))
    assert (seated.buffer[1, 1, 1], seated.buffer[4, 6, 9]) == (1, 0)


def test_capabilities_of_a_model_that_has_none_of_its_own(site):
    told = site.client.get("/capabilities").json()
    assert all(told["supported_interactions"].values())
    assert set(told["channel_mapping"]) == {"prev_seg", *told["supported_interactions"]}
    assert told["license"] == "Apache-2.0"
    assert told["supports_undo"] is True


def test_without_an_interactive_model_there_is_nothing_to_open(tmp_path):
    with opened(tmp_path / "workspace", models={"bands": ModelSettings(type="fake_automatic")}) as site:
        answer = site.client.get("/capabilities")
        assert answer.status_code == 409
        assert "no interactive model" in answer.json()["detail"]


def test_health(site):
    assert site.client.get("/healthz").json()["ok"] is True


def test_leases_end_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    released: list[int] = []
    monkeypatch.setattr(LeaseTable, "release_all", lambda table: released.append(len(table)))
    with opened(tmp_path / "workspace") as site:
        site.claim()
    assert released == [1]
