"""Labels in and out: voxels, rows, files."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import sqlalchemy as sa
from numpy.typing import NDArray

from tests.dialects.api.calls import API, get, unzipped
from tests.dialects.monailabel.site import SHAPE, Site, opened

ANA = {"X-Segloop-User": "ana", "X-Segloop-Client": "panel"}
OCTETS = {"Content-Type": "application/octet-stream"}


def two_structures(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 3, SHAPE, np.uint8)


def submit(site: Site, case_id: str, voxels: NDArray[np.uint8], who: str = "ana", **query: Any) -> Any:
    query = {"structures": "liver,spleen", **query}
    headers = {**OCTETS, **ANA, "X-Segloop-User": who}
    path = f"{API}/cases/{case_id}/labels"
    return site.client.post(path, params=query, content=gzip.compress(voxels.tobytes()), headers=headers)


def submitted(site: Site, case_id: str, voxels: NDArray[np.uint8], **query: Any) -> Any:
    answer = submit(site, case_id, voxels, **query)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", ["series", "file"])
def test_voxels_become_a_label_and_come_back(fresh: Site, kind: str) -> None:
    case_id = fresh.series if kind == "series" else "case 07"
    voxels = two_structures()
    label = submitted(fresh, case_id, voxels, structures="liver, spleen", comment="edited", model="clicks")
    assert (label["case_id"], label["tag"], label["number"]) == (case_id, "final", 1)
    assert (label["author"], label["client"], label["model"]) == ("ana", "panel", "clicks")
    assert (label["structures"], label["comment"]) == (["liver", "spleen"], "edited")
    back = get(fresh, f"/labels/{label['id']}/voxels")
    assert (back["shape"], back["structures"]) == (list(SHAPE), ["liver", "spleen"])
    np.testing.assert_array_equal(unzipped(back["voxels"], SHAPE), voxels)
    assert get(fresh, f"/cases/{case_id}")["completed"]


def test_the_file_of_a_series_is_a_dicom_seg(fresh: Site) -> None:
    voxels = two_structures()
    label = submitted(fresh, fresh.series, voxels, structures="liver,spleen")
    answer = fresh.client.get(f"{API}/labels/{label['id']}/file")
    assert answer.headers["content-type"] == "application/dicom"
    seg = pydicom.dcmread(io.BytesIO(answer.content))
    assert seg.Modality == "SEG"
    assert seg.SOPInstanceUID == label["sop_instance_uid"]
    assert [str(s.SegmentLabel) for s in seg.SegmentSequence] == ["liver", "spleen"]
    assert int(seg.pixel_array.sum()) == int((voxels > 0).sum())


def test_the_file_of_a_volume_is_nifti(fresh: Site, tmp_path: Path) -> None:
    voxels = two_structures()
    label = submitted(fresh, "case 07", voxels, structures="liver,spleen")
    (tmp_path / "label.nii.gz").write_bytes(fresh.client.get(f"{API}/labels/{label['id']}/file").content)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "label.nii.gz"))), voxels)


def test_a_form_says_the_same(fresh: Site) -> None:
    voxels = two_structures()
    meta = {"structures": ["liver", "spleen"], "comment": "from a form", "tag": "draft"}
    answer = fresh.client.post(
        f"{API}/cases/case 07/labels",
        files={"voxels": ("voxels.gz", gzip.compress(voxels.tobytes()))},
        data={"meta": json.dumps(meta)},
        headers=ANA,
    )
    assert answer.status_code == 201, answer.text
    label = answer.json()
    assert (label["structures"], label["comment"], label["tag"]) == (["liver", "spleen"], "from a form", "draft")
    assert not get(fresh, "/cases/case 07")["completed"]


def test_a_mask_without_names_is_refused(fresh: Site) -> None:
    refused = submit(fresh, "case 07", two_structures(), structures="")
    assert refused.status_code == 400
    assert refused.json()["detail"] == (
        "nothing says which structure is meant by Segment 1, Segment 2: send its name."
        " This project's structures: liver, spleen"
    )
    assert submit(fresh, "case 07", (two_structures() > 0).astype(np.uint8), structures="").status_code == 400
    assert get(fresh, "/cases/case 07/labels") == []


def test_names_of_no_structure_are_refused_with_the_nearest(fresh: Site) -> None:
    for names, absent, told in (
        ("liver,splen", None, "no structure 'splen'. Did you mean spleen? This project's structures: liver, spleen"),
        ("Liver,SPLEEN", None, "no structures 'Liver', 'SPLEEN'. Did you mean liver or spleen?"),
        ("liver,xyz", None, "no structure 'xyz'. This project's structures: liver, spleen"),
        ("liver,spleen", "lver", "no structure 'lver'. Did you mean liver?"),
    ):
        more = {} if absent is None else {"absent": absent}
        refused = submit(fresh, "case 07", two_structures(), structures=names, **more)
        assert refused.status_code == 400
        assert told in refused.json()["detail"]
        assert "labels.structures" in refused.json()["detail"]
    assert get(fresh, "/cases/case 07/labels") == []
    # What has no voxels and isn't marked says nothing, whatever it is called.
    label = submitted(fresh, "case 07", two_structures(), structures="liver,spleen,Segment_3")
    assert label["structures"] == ["liver", "spleen"]


def test_the_only_structure_needs_no_name(tmp_path: Path) -> None:
    with opened(tmp_path, labels={"structures": ["liver"]}, models={}) as site:
        voxels = (two_structures() > 0).astype(np.uint8)
        assert submitted(site, "case 07", voxels, structures="")["structures"] == ["liver"]
        assert submitted(site, "case 07", voxels, structures="Segment_1", comment="b")["structures"] == ["liver"]
        refused = submit(site, "case 07", two_structures(), structures="")
        assert refused.status_code == 400
        assert "which structure is meant by Segment 1, Segment 2" in refused.json()["detail"]


@pytest.mark.parametrize("kind", ["series", "file"])
def test_what_is_said_of_each_structure(tmp_path: Path, kind: str) -> None:
    with opened(tmp_path, labels={"structures": ["liver", "spleen", "aorta", "lung"]}) as site:
        case_id = site.series if kind == "series" else "case 07"
        voxels = (two_structures() == 2).astype(np.uint8) * 2
        label = submitted(site, case_id, voxels, structures="liver,spleen,aorta", absent="lung,liver")
        assert label["structures"] == ["liver", "spleen", "lung"]
        said = {"liver": "absent", "spleen": "segmented", "aorta": "not_examined", "lung": "absent"}
        assert label["states"] == said
        assert get(site, f"/cases/{case_id}/labels")[0]["states"] == said
        back = get(site, f"/labels/{label['id']}/voxels")
        np.testing.assert_array_equal(unzipped(back["voxels"], SHAPE), voxels)
        for more in ({}, {"absent": ""}):
            told = submitted(
                site, case_id, voxels, structures="liver,spleen", comment=str(more), tag=f"t{more}", **more
            )
            assert told["states"] == {**dict.fromkeys(said, "not_examined"), "spleen": "segmented"}


def test_only_an_absence_is_a_label(fresh: Site) -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    refused = submit(fresh, fresh.series, nothing, structures="liver", absent="")
    assert refused.status_code == 400
    assert "no structure has voxels" in refused.json()["detail"]
    label = submitted(fresh, fresh.series, nothing, structures="liver", absent="liver")
    assert label["states"] == {"liver": "absent", "spleen": "not_examined"}


def test_segmented_and_absent_at_once_is_refused(fresh: Site) -> None:
    refused = submit(fresh, "case 07", two_structures(), structures="liver,spleen", absent="spleen")
    assert refused.status_code == 400
    assert "marked as absent, and segmented: spleen" in refused.json()["detail"]


def test_the_same_bytes_again_are_the_same_version(fresh: Site) -> None:
    voxels = two_structures()
    first = submitted(fresh, "case 07", voxels)
    assert submitted(fresh, "case 07", voxels)["id"] == first["id"]
    other = submitted(fresh, "case 07", two_structures(1))
    assert (other["number"], other["id"]) == (2, first["id"] + 1)
    assert [label["number"] for label in get(fresh, "/cases/case 07/labels")] == [1, 2]


@pytest.mark.parametrize(
    ("body", "query", "told"),
    [
        (gzip.compress(bytes(np.prod(SHAPE) - 1)), {}, "exactly 2880 bytes"),
        (gzip.compress(bytes(np.prod(SHAPE) + 1)), {}, "exactly 2880 bytes"),
        (gzip.compress(bytes(10**8)), {}, "exactly 2880 bytes"),
        (gzip.compress(bytes(np.prod(SHAPE)))[:-6], {}, "exactly 2880 bytes"),
        (gzip.compress(bytes(np.prod(SHAPE))) + b"more", {}, "exactly 2880 bytes"),
        (b"no gzip", {}, "gzip"),
        (b"", {}, "exactly"),
        (gzip.compress(bytes([3]) * int(np.prod(SHAPE))), {"structures": "a,b"}, "numbers up to 3"),
        (gzip.compress(bytes([3]) * int(np.prod(SHAPE))), {}, "meant by Segment 3"),
        (gzip.compress(bytes(np.prod(SHAPE))), {"structures": "a,a"}, "name of its own"),
        (gzip.compress(bytes(np.prod(SHAPE))), {"structures": "a,,b"}, "name of its own"),
        (gzip.compress(bytes(np.prod(SHAPE))), {"tag": ""}, "tag"),
        (gzip.compress(bytes(np.prod(SHAPE))), {"tag": "x" * 65}, "tag"),
    ],
)
def test_voxels_that_do_not_fit_change_nothing(site: Site, body: bytes, query: dict[str, str], told: str) -> None:
    answer = site.client.post(f"{API}/cases/case 07/labels", params=query, content=body, headers=OCTETS)
    assert answer.status_code == 400
    assert told in answer.json()["detail"]
    assert get(site, "/cases/case 07/labels") == []


def test_a_label_of_no_case(site: Site) -> None:
    assert submit(site, "nowhere", two_structures()).status_code == 404
    for path in ("/labels/77/file", "/labels/77/voxels"):
        assert "77" in get(site, path, 404)["detail"]


def test_an_upload_has_a_limit(tmp_path: Path) -> None:
    settings = {"labels": {"structures": ["liver"], "max_upload_bytes": 2**20}}
    with opened(tmp_path / "workspace", **settings) as site:
        path = f"{API}/cases/case 07/labels"
        answer = site.client.post(path, content=bytes(2**20 + 1), headers=OCTETS)
        assert answer.status_code == 400
        assert "max_upload_bytes" in answer.json()["detail"]


def test_labels_of_all_cases_newest_first(fresh: Site) -> None:
    start = datetime.now(UTC)
    first = submitted(fresh, "case 07", two_structures(1), who="ana")
    second = submitted(fresh, fresh.series, two_structures(2), who="bo")
    third = submitted(fresh, "case 07", two_structures(3), who="ana")

    def ids(**query: Any) -> list[int]:
        return [label["id"] for label in get(fresh, "/labels", params=query)]

    assert ids() == [third["id"], second["id"], first["id"]]
    assert ids(who="ana") == [third["id"], first["id"]]
    assert ids(limit=1) == [third["id"]]
    assert ids(since=second["created"]) == [third["id"], second["id"]]
    assert ids(since=(start + timedelta(days=1)).date().isoformat()) == []
    assert len(ids(since=start.replace(tzinfo=None).isoformat())) == 3  # UTC is meant


def test_hidden_labels_are_not_told(fresh: Site) -> None:
    label = submitted(fresh, "case 07", two_structures())
    fresh.services.labels.delete("case 07", "final", "ana")
    assert get(fresh, "/labels") == []
    assert get(fresh, "/cases/case 07/labels") == []
    assert "deleted" in get(fresh, f"/labels/{label['id']}/file", 404)["detail"]


def test_delivery_is_told(fresh: Site) -> None:
    label = submitted(fresh, fresh.series, two_structures(), structures="liver,spleen")
    assert label["delivered"] is False
    outbox = fresh.services.project.catalog.outbox
    outbox.failed(label["id"], "the archive is away", 2e9)
    state = get(fresh, "/outbox")
    assert (state["waiting"], state["oldest"]) == (1, label["created"])
    (problem,) = state["problems"]
    assert (problem["label_id"], problem["state"], problem["tries"]) == (label["id"], "waiting", 1)
    assert (problem["error"], problem["next"]) == ("the archive is away", "2033-05-18T03:33:20Z")
    outbox.delivered(label["id"], "somewhere")
    assert get(fresh, f"/cases/{fresh.series}/labels")[0]["delivered"] is True
    assert get(fresh, "/outbox") == {"waiting": 0, "refused": 0, "oldest": None, "problems": []}


def test_automatic_segmentation(site: Site) -> None:
    """The fake cuts the range of values into three: background, and the two structures."""
    answer = site.client.post(f"{API}/cases/case 07/segment", json={"model": "bands"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["shape"], found["labels"]) == (list(SHAPE), {"liver": 1, "spleen": 2})
    voxels = site.truth["case 07"].voxels.astype(float)
    expected = np.digitize(voxels, np.linspace(voxels.min(), voxels.max(), 4)[1:3])
    np.testing.assert_array_equal(unzipped(found["voxels"], SHAPE), expected)
    refused = site.client.post(f"{API}/cases/case 07/segment", json={"model": "clicks"})
    assert refused.status_code == 501


def test_a_file_with_a_changed_byte_is_not_sent(fresh: Site) -> None:
    label = submitted(fresh, fresh.series, two_structures())
    (file,) = fresh.services.project.paths.labels.rglob("*.dcm")
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    for part in ("file", "voxels"):
        assert "damaged or lost" in get(fresh, f"/labels/{label['id']}/{part}", 500)["detail"]


def test_a_full_disk_is_no_unexpected_error(fresh: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **named: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise sa.exc.OperationalError("", None, error)

    monkeypatch.setattr(sa.Connection, "execute", full)
    answer = fresh.client.post("/activelearning/first", json={"client_id": "ana"})
    assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (507, True)
