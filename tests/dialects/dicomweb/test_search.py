"""QIDO-RS: what comes back, what is refused, and what is passed over with a warning."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom import Dataset

from tests.dialects.dicomweb.site import SHAPE, Site, path_of

Kinds = dict[str, list[Dataset]]


def test_what_ohif_asks_for_its_study_list(site: Site, kinds: Kinds) -> None:
    query = "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
    answer = site.get(f"/studies?{query}", "application/dicom+json")
    assert answer.headers["content-type"] == "application/dicom+json"
    found = {entry["0020000D"]["Value"][0]: entry for entry in answer.json()}
    assert set(found) == {str(datasets[0].StudyInstanceUID) for datasets in kinds.values()}
    first = kinds["oblique"][0]
    entry = found[first.StudyInstanceUID]
    assert entry["00081030"]["Value"] == ["Synthetic study"]
    assert entry["00201208"]["Value"] == [SHAPE[0]]
    assert entry["00201206"]["Value"] == [1]
    assert entry["00081190"]["Value"] == [site.url + path_of(first, upto="studies")]
    assert list(entry) == sorted(entry)


def test_results_name_where_to_get_them(site: Site, kinds: Kinds) -> None:
    first = kinds["mr"][0]
    for level, path in (("series", path_of(first, upto="studies")), ("instances", path_of(first, upto="series"))):
        for entry in site.get(f"{path}/{level}").json():
            assert entry["00081190"]["Value"][0].startswith(f"{site.url}{path}/{level}/")
            assert site.get(entry["00081190"]["Value"][0].removeprefix(site.url) + "/metadata").status_code == 200


def test_all_that_the_index_keeps(site: Site) -> None:
    (entry, *_) = site.get("/instances?includefield=all&limit=1").json()
    assert {"00081090", "00280101", "00083002"} - set(entry) <= {"00280101"}
    (entry, *_) = site.get("/instances?limit=1").json()
    assert "00081090" not in entry


def test_nothing_is_an_empty_list(site: Site) -> None:
    for query in ("PatientID=NOBODY", "StudyInstanceUID=1.2.3", "limit=0", "offset=1000"):
        answer = site.get(f"/studies?{query}")
        assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize(
    "query",
    ["limit=x", "limit=-1", "offset=1.5", "fuzzymatching=maybe", "KVP=120", "00400275.00080050=1", "StudyDate=2024-x",
     "Modality=CT&00080060=MR"],
)  # fmt: skip
def test_what_can_t_be_asked(site: Site, query: str) -> None:
    answer = site.get(f"/series?{query}")
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_what_is_passed_over_is_said(site: Site) -> None:
    answer = site.get("/studies?limit=1&foo%22%0d%0ax=1&includefield=Nonsense,KVP&includefield=00080060")
    assert (answer.status_code, len(answer.json())) == (200, 1)
    warning = answer.headers["warning"]
    assert warning.startswith('299 segloop "')
    assert all(word in warning for word in ("foo", "Nonsense", "KVP"))
    assert "Warning" not in site.get("/studies?limit=1").headers


def test_only_json(site: Site) -> None:
    assert site.get("/studies", "application/dicom+xml").status_code == 406
    assert site.get("/studies", "application/dicom+xml, application/json;q=0.5").status_code == 200


def test_no_uid_no_search(site: Site) -> None:
    for path in ("/studies/..%2F..%2Fetc/series", "/studies/1.02/series", "/studies/1.2/series/x/instances"):
        assert site.get(path).status_code in (400, 404, 501)


def test_head(site: Site) -> None:
    import requests

    answer = requests.head(f"{site.url}/studies", timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(site.get("/studies").content)


def test_monai_labels_names_lead_here_too(site: Site, kinds: Kinds) -> None:
    path = path_of(kinds["oblique"][0], upto="series")
    direct = site.get(f"{path}/metadata")
    for prefix in ("/proxy/dicom/wado", "/proxy/dicom/qido", "/proxy/dicom"):
        url = site.url.removesuffix("/dicom-web")
        aliased = replace(site, url=f"{url}{prefix}").get(f"{path}/metadata")
        assert aliased.content == direct.content
