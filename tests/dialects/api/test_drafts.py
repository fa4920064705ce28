"""Drafts over the wire: what was drawn is found again, with its undo, until it is submitted."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np

from tests.dialects.api.calls import API, bits, get, mask, post, prompt
from tests.dialects.monailabel.site import SHAPE, Site

ANA = {"X-Segloop-User": "ana"}
BO = {"X-Segloop-User": "bo"}
POINT = {"type": "point", "at": [4, 10, 8], "include": True}
OTHER = {"type": "point", "at": [2, 3, 4], "include": True}
CASE = "case 07"


def opened(site: Site, structure: str, who: dict[str, str] = ANA) -> str:
    body = {"case_id": CASE, "model": "clicks", "structure": structure}
    return str(post(site, "/sessions", body, 201, headers=who)["id"])


def resumed(site: Site, who: dict[str, str] = ANA) -> dict[str, Any]:
    found: dict[str, Any] = post(site, f"/cases/{CASE}/draft", headers=who)
    return {part["structure"]: part for part in found["parts"]}


def test_a_draft_has_each_structure_with_its_undo(fresh: Site) -> None:
    liver, spleen = opened(fresh, "liver"), opened(fresh, "spleen")
    prompt(fresh, liver, POINT, batch="p-1")
    stroke = {"low": [1, 2, 3], "high": [2, 4, 5], "voxels": bits(np.ones((1, 2, 2), bool)), "batch": "p-2"}
    post(fresh, f"/sessions/{spleen}/edit", stroke)
    post(fresh, f"/sessions/{liver}/edit", {**stroke, "voxels": bits(np.zeros((1, 2, 2), bool))})
    prompt(fresh, liver, OTHER, batch="p-3")
    post(fresh, f"/sessions/{liver}/undo")
    post(fresh, f"/sessions/{spleen}/say", {"said": "guessed", "batch": "p-4"})
    post(fresh, f"/sessions/{liver}/flush", status=204)

    parts = resumed(fresh)
    assert (parts["liver"]["id"], parts["spleen"]["id"]) == (liver, spleen)
    assert [step["batch"] for step in parts["liver"]["undo"]] == ["p-2", "p-1"]
    assert [step["batch"] for step in parts["liver"]["redo"]] == ["p-3"]
    assert [step["batch"] for step in parts["spleen"]["undo"]] == ["p-4", "p-2"]
    times = [step["at"] for step in parts["liver"]["undo"]]
    assert times == sorted(times, reverse=True)
    assert (parts["liver"]["said"], parts["spleen"]["said"]) == ("", "guessed")
    (row,) = get(fresh, "/drafts")
    assert (row["case_id"], row["who"], sorted(row["structures"])) == (CASE, "ana", ["liver", "spleen"])
    assert row["used"] < row["expires"]
    assert liver not in json.dumps(row)


def test_a_draft_is_a_persons_own(fresh: Site) -> None:
    prompt(fresh, opened(fresh, "liver"), POINT)
    post(fresh, f"/cases/{CASE}/draft", headers=BO, status=204)
    prompt(fresh, opened(fresh, "liver", BO), OTHER)
    assert resumed(fresh)["liver"]["id"] != resumed(fresh, BO)["liver"]["id"]
    assert len(get(fresh, "/drafts")) == 2
    assert [row["who"] for row in get(fresh, "/drafts", params={"who": "bo"})] == ["bo"]
    assert get(fresh, "/drafts", params={"case_id": "nowhere"}) == []


def test_sessions_without_steps_or_structure_and_closed_ones_are_none(fresh: Site) -> None:
    opened(fresh, "liver")
    prompt(fresh, opened(fresh, ""), POINT)
    closed = opened(fresh, "spleen")
    prompt(fresh, closed, POINT)
    fresh.client.delete(f"{API}/sessions/{closed}")
    assert get(fresh, "/drafts") == []
    post(fresh, f"/cases/{CASE}/draft", headers=ANA, status=204)


def test_submitting_ends_a_draft_until_one_goes_on(fresh: Site) -> None:
    session = opened(fresh, "liver")
    prompt(fresh, session, POINT)
    form = {"meta": json.dumps({"structures": ["liver"]})}
    files = {"voxels": ("voxels.gz", gzip.compress(mask(fresh, session).tobytes()), "application/gzip")}
    answer = fresh.client.post(f"{API}/cases/{CASE}/labels", data=form, files=files, headers=ANA)
    assert answer.status_code == 201
    assert len(get(fresh, "/drafts")) == 1, "nothing says that this was it"
    form = {"meta": json.dumps({"structures": ["liver"], "sessions": [session, "nonsense"]})}
    answer = fresh.client.post(f"{API}/cases/{CASE}/labels", data=form, files=files, headers=ANA)
    assert answer.status_code == 201, answer.text
    assert get(fresh, "/drafts") == []
    post(fresh, f"/sessions/{session}/undo")
    assert len(get(fresh, "/drafts")) == 1
    assert np.prod(SHAPE) == mask(fresh, session).size
