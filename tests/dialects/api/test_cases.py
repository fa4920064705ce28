"""Cases, their geometry, scores, and whose turn it is."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import numpy as np
import pytest

from tests.dialects.api.calls import get, opened_session, post, prompt
from tests.dialects.monailabel.site import SHAPE, Site
from tests.dicom.synthetic import ct_series

ANA, BO = ({"X-Segloop-User": name} for name in ("ana", "bo"))


def test_cases_are_listed_in_pages(site: Site) -> None:
    everything = get(site, "/cases")
    assert everything["total"] == 3
    ids = [case["id"] for case in everything["cases"]]
    assert set(ids) == set(site.truth)
    page = get(site, "/cases", params={"limit": 1, "offset": 1})
    assert page["total"] == 3
    assert [case["id"] for case in page["cases"]] == ids[1:2]


def test_a_case_says_what_the_archive_says(site: Site) -> None:
    case = get(site, f"/cases/{site.series}")
    assert case["kind"] == "series"
    assert case["series_uid"] == site.series
    assert case["modality"] == "CT"
    assert case["instances"] == SHAPE[0]
    assert case["origin"] == "archive"
    assert (case["completed"], case["problem"], case["served"]) == (False, "", None)
    assert get(site, "/cases/case 07")["patient_id"] == "P7"


@pytest.mark.parametrize(("q", "found"), [("p7", {"case 07"}), ("CASE", {"case 07"}), ("100%", set()), ("_", set())])
def test_cases_are_found_by_text_and_not_by_wildcards(site: Site, q: str, found: set[str]) -> None:
    page = get(site, "/cases", params={"q": q})
    assert {case["id"] for case in page["cases"]} == found
    assert page["total"] == len(found)


def test_cases_by_completion(fresh: Site) -> None:
    session = opened_session(fresh)
    prompt(fresh, session, {"type": "point", "at": [4, 10, 8], "include": True})
    post(fresh, f"/sessions/{session}/label", {"structure": "liver"}, 201)
    done = get(fresh, "/cases", params={"completed": True})
    assert [case["id"] for case in done["cases"]] == ["case 07"]
    assert get(fresh, "/cases", params={"completed": False})["total"] == 2


def test_unknown_case_and_bad_query_are_text(site: Site) -> None:
    for path in ("", "/geometry", "/scores", "/labels", "/thumbnail"):
        assert "nowhere" in get(site, f"/cases/nowhere{path}", 404)["detail"]
    told = get(site, "/cases", 422, params={"limit": 0})["detail"]
    assert isinstance(told, str)
    assert "limit" in told


@pytest.mark.parametrize("which", [0, 1])
def test_geometry_of_a_series(site: Site, which: int) -> None:
    """Slices sorted by hand: ImagePositionPatient on row x column."""
    orientation, patient = (("oblique", 1), ("sagittal", 2))[which]
    datasets, truth = ct_series(SHAPE, orientation=orientation, reversed=True, patient=patient)
    series = str(datasets[0].SeriesInstanceUID)
    row, column = np.reshape([float(v) for v in datasets[0].ImageOrientationPatient], (2, 3))
    datasets.sort(key=lambda d: float(np.cross(row, column) @ np.array([float(v) for v in d.ImagePositionPatient])))
    found = get(site, f"/cases/{series}/geometry")
    assert found["shape"] == list(SHAPE)
    assert [s["sop_instance_uid"] for s in found["slices"]] == [str(d.SOPInstanceUID) for d in datasets]
    positions = [[float(v) for v in d.ImagePositionPatient] for d in datasets]
    np.testing.assert_allclose([s["position"] for s in found["slices"]], positions, atol=1e-3)
    np.testing.assert_allclose(found["affine"], truth.geometry.affine, atol=1e-3)
    np.testing.assert_allclose(found["origin"], positions[0], atol=1e-3)
    steps = np.reshape(found["direction"], (3, 3)) * np.array(found["spacing"])
    np.testing.assert_allclose(steps, np.array(found["affine"])[:3, :3], atol=1e-6)


def test_geometry_of_a_file_has_no_instances(site: Site) -> None:
    found = get(site, "/cases/case 07/geometry")
    assert found["slices"] == []
    np.testing.assert_allclose(found["spacing"], [0.9, 0.8, 3.0])


def test_scores_newest_first_with_the_slice_to_look_at(fresh: Site) -> None:
    catalog = fresh.services.project.catalog
    catalog.scores.put("case 07", "entropy:bands", "bands-1", 0.25, 1.0, {"slices": [6, 2]})
    catalog.scores.put("case 07", "epistemic:bands", "bands-1", 0.5, 1.0, {})
    second, first = get(fresh, "/cases/case 07/scores")
    assert (first["scorer"], first["metric"], first["value"]) == ("entropy:bands", "entropy", 0.25)
    assert (first["model_version"], first["slice"]) == ("bands-1", 6)
    assert second["slice"] is None
    assert abs((datetime.now(UTC) - datetime.fromisoformat(first["at"])).total_seconds()) < 60


def test_next_case_is_leased_and_comes_back(fresh: Site) -> None:
    offer = post(fresh, "/next", {"strategy": "first"}, headers=ANA)
    assert offer["reason"]
    assert datetime.fromisoformat(offer["expires"]) > datetime.now(UTC)
    assert offer["case"]["served"]["by"] == "ana"
    assert post(fresh, "/next", {}, headers=ANA)["case"]["id"] == offer["case"]["id"]
    assert post(fresh, "/next", {"strategy": "first"}, headers=BO)["case"]["id"] != offer["case"]["id"]


def test_a_released_case_is_for_others(fresh: Site) -> None:
    skipped = post(fresh, "/next", {"strategy": "first"}, headers=ANA)["case"]["id"]
    post(fresh, f"/cases/{quote(skipped)}/release", status=204, headers=BO)  # not bo's to give back
    assert post(fresh, "/next", {"strategy": "first"}, headers=ANA)["case"]["id"] == skipped
    post(fresh, f"/cases/{quote(skipped)}/release", status=204, headers=ANA)
    following = post(fresh, "/next", {"strategy": "first"}, headers=ANA)["case"]["id"]
    assert following != skipped
    assert post(fresh, "/next", {"strategy": "first"}, headers={"X-Segloop-User": "cy"})["case"]["id"] == skipped


def test_skipped_cases_come_back_when_nothing_else_is_left(fresh: Site) -> None:
    seen = []
    for _ in range(4):
        seen.append(post(fresh, "/next", {"strategy": "first"}, headers=ANA)["case"]["id"])
        post(fresh, f"/cases/{quote(seen[-1])}/release", status=204, headers=ANA)
    assert set(seen[:3]) == set(fresh.truth)
    assert seen[3] in seen[:3]


def test_nothing_left_is_204(fresh: Site) -> None:
    for person in "abc":
        post(fresh, "/next", {}, headers={"X-Segloop-User": person})
    assert fresh.client.post("/api/v1/next", json={}).status_code == 204


def test_unknown_strategy(site: Site) -> None:
    assert "astrology" in post(site, "/next", {"strategy": "astrology"}, 404)["detail"]
