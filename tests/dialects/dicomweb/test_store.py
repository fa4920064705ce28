"""STOW-RS: images into the folder, segmentations into the labels."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import requests
from pydicom import Dataset

from app.core.label import Label
from tests.dialects.dicomweb.segmentations import painted, segmentation
from tests.dialects.dicomweb.site import SHAPE, Site, encode, path_of, serving, write
from tests.dicom.synthetic import ct_series, uid


@pytest.fixture
def fresh(tmp_path, kinds) -> Iterator[Site]:
    write({"oblique": kinds["oblique"]}, tmp_path / "studies")
    with serving(
        tmp_path, tmp_path / "studies", labels={"structures": ["Liver", "Tumour"], "max_upload_bytes": 2**20}
    ) as one:
        yield one


def outcome(answer: requests.Response) -> tuple[list[str], dict[str, int]]:
    """What was stored, and Failure Reasons of what wasn't."""
    said = Dataset.from_json(answer.json())
    failed = {
        str(i.get("ReferencedSOPInstanceUID") or ""): i.FailureReason for i in said.get("FailedSOPSequence") or ()
    }
    return [str(item.ReferencedSOPInstanceUID) for item in said.get("ReferencedSOPSequence") or ()], failed


def labels(site: Site, series: str) -> list[Label]:
    return site.services.labels.history(series)


def test_images_are_there_and_are_cases(fresh: Site) -> None:
    datasets, truth = ct_series(SHAPE, patient=30, reversed=True)
    answer = fresh.store([encode(dataset) for dataset in datasets])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert sorted(outcome(answer)[0]) == sorted(str(dataset.SOPInstanceUID) for dataset in datasets)
    assert len(fresh.get(path_of(datasets[0], upto="series") + "/metadata").json()) == SHAPE[0]
    np.testing.assert_array_equal(fresh.services.cases.volume(datasets[0].SeriesInstanceUID).voxels, truth.voxels)
    stored = {path.read_bytes() for path in fresh.folder.glob("received/*/*.dcm")}
    assert stored == {encode(dataset) for dataset in datasets}


def test_each_object_has_its_outcome(fresh: Site) -> None:
    good, other = ct_series((2, 8, 8), patient=31)[0]
    assert fresh.store([encode(good)]).status_code == 200
    same_uid = pydicom.dcmread(io.BytesIO(encode(good)))
    same_uid.PatientID = "ANOTHER"
    answer = fresh.store([encode(good), encode(same_uid), b"nonsense", encode(other)[:400], encode(other)])
    assert answer.status_code == 202
    stored, failed = outcome(answer)
    assert stored == [str(good.SOPInstanceUID), str(other.SOPInstanceUID)]
    assert failed[str(good.SOPInstanceUID)] == 0x0111
    assert failed[""] == 0xC000
    assert "another object" in answer.headers["warning"]
    refused = fresh.store([encode(good)], f"/studies/{uid('another')}")
    assert (refused.status_code, outcome(refused)[1]) == (409, {str(good.SOPInstanceUID): 0x0110})
    traversal = encode(good).replace(good.SOPInstanceUID.encode(), (b"../" * 30)[: len(good.SOPInstanceUID)])
    assert fresh.store([traversal]).status_code == 409
    assert {path.parts[-3] for path in fresh.folder.rglob("*.dcm") if "oblique" not in path.parts} == {"received"}


def test_bodies_that_can_t_be_taken(fresh: Site) -> None:
    url = f"{fresh.url}/studies"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    for body, content_type, status in (
        (b"x" * (2**20 + 1), kind, 413),
        (iter([b"x" * 2**19] * 3), kind, 413),
        (b"no multipart", kind, 400),
        (b"", kind, 400),
        (b"{}", "application/json", 415),
        (b"--b\r\n\r\n{}\r\n--b--", kind.replace("dicom", "dicom+json"), 415),
        (b"--b\r\n\r\nx", 'multipart/related; type="application/dicom"', 415),
    ):
        answer = requests.post(url, data=body, headers={"Content-Type": content_type}, timeout=30)
        assert answer.status_code == status, (content_type, answer.text)
    assert not list((fresh.services.project.paths.incoming).iterdir())
    assert (
        requests.post(f"{fresh.url}/studies/x..y", data=b"", headers={"Content-Type": kind}, timeout=9).status_code
        == 400
    )


@pytest.mark.parametrize("labelmap", [True, False])
def test_a_segmentation_becomes_the_case_s_label(fresh: Site, kinds, labelmap: bool) -> None:
    datasets = kinds["oblique"]
    series = str(datasets[0].SeriesInstanceUID)
    voxels = painted(SHAPE, 2)
    file = segmentation(datasets, voxels, ["Liver", "Tumour"], labelmap=labelmap)
    headers = {"User-Agent": "Mozilla/5.0", "Referer": f"{fresh.address}/ohif/viewer"}
    url = replace(fresh, url=f"{fresh.address}/u/ana/dicom-web")
    for _ in range(2):  # a retry is the same version
        answer = url.store([file], **headers)
        assert answer.status_code == 200
        assert outcome(answer)[0] == [str(pydicom.dcmread(io.BytesIO(file)).SOPInstanceUID)]
    (label,) = labels(fresh, series)
    assert (label.author, label.client, label.tag, label.number) == ("ana", "OHIF", "final", 1)
    mask = fresh.services.labels.mask(label)
    assert [segment.name for segment in mask.segments] == ["Liver", "Tumour"]
    np.testing.assert_array_equal(mask.labelmap(), voxels)
    assert not list(fresh.folder.glob("received/**/*.dcm"))
    location = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    deadline = time.monotonic() + 30
    while (found := requests.get(f"{location}/metadata", timeout=10)).status_code != 200:
        assert time.monotonic() < deadline, "the label was not delivered"
        time.sleep(0.1)
    assert found.json()[0]["00080018"]["Value"] == [label.sop_instance_uid]
    assert fresh.store([segmentation(datasets, painted(SHAPE, 2, 1), ["Liver", "Tumour"], labelmap=labelmap)]).ok
    assert [one.number for one in labels(fresh, series)] == [1, 2]


def test_voxels_that_the_header_forgot_are_told(fresh: Site, kinds) -> None:
    """They have no name, and neither do they become a structure nor are they left out."""
    datasets = kinds["oblique"]
    voxels = painted(SHAPE, 2)
    dataset = pydicom.dcmread(io.BytesIO(segmentation(datasets, voxels, ["Liver", "x"], labelmap=True)))
    dataset.SegmentSequence = [item for item in dataset.SegmentSequence if item.SegmentNumber != 2]
    answer = fresh.store([encode(dataset)])
    assert (answer.status_code, outcome(answer)[1]) == (409, {str(dataset.SOPInstanceUID): 0x0110})
    assert "meant by Segment 2: send its name. This project's structures: Liver, Tumour" in answer.headers["warning"]
    assert labels(fresh, str(datasets[0].SeriesInstanceUID)) == []


@pytest.mark.parametrize("labelmap", [True, False])
def test_names_of_no_structure_are_refused(fresh: Site, kinds, labelmap: bool) -> None:
    datasets = kinds["oblique"]
    for names, told in (
        (["Liver", "Tumor"], "no structure 'Tumor'. Did you mean Tumour?"),
        (["Liver", "Segment 2"], "meant by Segment 2"),  # as OHIF calls a segment that nobody named
    ):
        answer = fresh.store([segmentation(datasets, painted(SHAPE, 2), names, labelmap=labelmap)])
        assert answer.status_code == 409
        assert told in answer.headers["warning"]
    assert labels(fresh, str(datasets[0].SeriesInstanceUID)) == []


def test_a_segmentation_off_the_grid_is_refused(fresh: Site, kinds) -> None:
    datasets = kinds["oblique"]
    dataset = pydicom.dcmread(io.BytesIO(segmentation(datasets, painted(SHAPE, 1), ["Liver"], labelmap=True)))
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0]
        position.ImagePositionPatient = [position.ImagePositionPatient[0] + 0.4, *position.ImagePositionPatient[1:]]
    answer = fresh.store([encode(dataset)])
    assert (answer.status_code, outcome(answer)[1]) == (409, {str(dataset.SOPInstanceUID): 0xA900})
    assert "grid" in answer.headers["warning"]
    assert labels(fresh, str(datasets[0].SeriesInstanceUID)) == []
    assert not list(fresh.folder.glob("received/**/*.dcm"))


def test_a_segmentation_of_nothing_here_is_an_object_like_others(fresh: Site) -> None:
    elsewhere, _ = ct_series(SHAPE, patient=40)
    file = segmentation(elsewhere, painted(SHAPE, 1), ["Liver"], labelmap=False)
    assert fresh.store([file]).status_code == 200
    (path,) = fresh.folder.glob("received/**/*.dcm")
    assert path.read_bytes() == file
