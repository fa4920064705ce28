"""STOW-RS into a folder: what is damaged or doesn't fit is refused, and cases stay as they are."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import requests
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGLSLossless, RLELossless

from app.core.volume import Volume
from app.errors import UnknownCase
from tests.dialects.dicomweb.segmentations import painted, segmentation
from tests.dialects.dicomweb.site import SHAPE, Site, encode, serving, write
from tests.dialects.dicomweb.test_store import outcome
from tests.dicom.synthetic import ct_series, uid

DAMAGED, MISMATCH, DUPLICATE = 0xC000, 0xA900, 0x0111


@pytest.fixture
def fresh(tmp_path, kinds) -> Iterator[Site]:
    write({"oblique": kinds["oblique"]}, tmp_path / "studies")
    with serving(tmp_path, tmp_path / "studies", labels={"structures": ["Liver"]}) as one:
        yield one


def another(dataset: Dataset, **changes: object) -> Dataset:
    """A further instance of the same series."""
    made = copy.deepcopy(dataset)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid("another", str(changes))
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


def end_of(datasets: list[Dataset]) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """An instance at the end of a series, its position, and the step to the next."""
    ordered = sorted(datasets, key=lambda d: int(d.InstanceNumber))
    places = [np.array([float(v) for v in d.ImagePositionPatient]) for d in ordered]
    return ordered[-1], places[-1], places[-1] - places[-2]


def position(values: np.ndarray) -> list[str]:
    return [f"{value:.6f}" for value in values]


def cut(dataset: Dataset) -> bytes:
    return encode(dataset)[: len(encode(dataset)) - 200]


def without_pixels(dataset: Dataset) -> bytes:
    made = copy.deepcopy(dataset)
    del made.PixelData
    return encode(made)


def more_rows(dataset: Dataset) -> bytes:
    content = encode(dataset)
    rows = b"\x28\x00\x10\x00US\x02\x00"
    return content.replace(rows + struct.pack("<H", dataset.Rows), rows + struct.pack("<H", 65535))


DAMAGES: dict[str, Callable[[Dataset], bytes]] = {"cut": cut, "no pixels": without_pixels, "rows": more_rows}


def unchanged(site: Site, series: str, before: Volume) -> None:
    after = site.services.cases.volume(series)
    np.testing.assert_array_equal(after.voxels, before.voxels)
    assert before.geometry.difference(after.geometry) is None
    assert site.services.cases.get(series).problem == ""
    assert not list(site.folder.glob("received/**/*.dcm"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_instances_are_refused(fresh: Site, kinds, damage: str) -> None:
    series = str(kinds["oblique"][0].SeriesInstanceUID)
    before = fresh.services.cases.volume(series)
    one = another(kinds["oblique"][0])
    answer = fresh.store([DAMAGES[damage](one)])
    assert (answer.status_code, outcome(answer)[1]) == (409, {str(one.SOPInstanceUID): DAMAGED})
    assert "pixel" in answer.headers["warning"]
    unchanged(fresh, series, before)
    elsewhere = ct_series(SHAPE, patient=50)[0][0]
    assert list(outcome(fresh.store([DAMAGES[damage](elsewhere)]))[1].values()) == [DAMAGED]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_frames_are_decoded_before_they_are_kept(fresh: Site, syntax: str) -> None:
    one, two = ct_series((2, 16, 16), transfer_syntax=syntax, patient=51)[0]
    frame = next(generate_frames(one.PixelData, number_of_frames=1))
    one.PixelData = encapsulate([frame[: len(frame) // 2]])
    answer = fresh.store([encode(one), encode(two)])
    assert outcome(answer) == ([str(two.SOPInstanceUID)], {str(one.SOPInstanceUID): DAMAGED})


def test_instances_that_contradict_their_series_are_refused(fresh: Site, kinds) -> None:
    last, place, step = end_of(kinds["oblique"])
    series = str(last.SeriesInstanceUID)
    before = fresh.services.cases.volume(series)
    row = [float(v) for v in last.ImageOrientationPatient]
    wrong = {
        "spacing": another(last, PixelSpacing=["1.5", "1.5"], ImagePositionPatient=position(place + step)),
        "orientation": another(last, ImageOrientationPatient=[*row[3:], *row[:3]]),
        "between slices": another(last, ImagePositionPatient=position(place - step / 2)),
        "same place": another(last, RescaleIntercept="7"),
        "far away": another(last, ImagePositionPatient=position(place + 40 * step)),
        "frame of reference": another(last, FrameOfReferenceUID=uid("elsewhere")),
        "modality": another(last, Modality="OT"),
        "patient": another(last, PatientID="SOMEBODY ELSE"),
        "study": another(last, StudyInstanceUID=uid("another study")),
        "no position": another(last, ImageOrientationPatient=None),
    }
    for what, instance in wrong.items():
        answer = fresh.store([encode(instance)])
        assert outcome(answer) == ([], {str(instance.SOPInstanceUID): MISMATCH}), (what, answer.text)
    unchanged(fresh, series, before)


def test_a_series_grows_until_it_has_labels(fresh: Site, kinds) -> None:
    last, place, step = end_of(kinds["oblique"])
    series = str(last.SeriesInstanceUID)
    assert fresh.store([encode(another(last, ImagePositionPatient=position(place + step)))]).status_code == 200
    assert fresh.services.cases.volume(series).geometry.shape == (SHAPE[0] + 1, *SHAPE[1:])


def test_a_labelled_case_keeps_its_images(fresh: Site, kinds) -> None:
    last, place, step = end_of(kinds["oblique"])
    series = str(last.SeriesInstanceUID)
    before = fresh.services.cases.volume(series)
    assert fresh.store([segmentation(kinds["oblique"], painted(SHAPE, 1), ["Liver"], labelmap=False)]).ok
    for instance in (another(last, ImagePositionPatient=position(place + step)), another(last, Rows=40)):
        assert set(outcome(fresh.store([encode(instance)]))[1].values()) <= {MISMATCH, DAMAGED}
    unchanged(fresh, series, before)
    (label,) = fresh.services.labels.history(series)
    np.testing.assert_array_equal(fresh.services.labels.mask(label).labelmap(), painted(SHAPE, 1))
    assert fresh.store([encode(dataset) for dataset in kinds["oblique"]]).status_code == 200  # the same once more


def test_slices_of_a_new_series_come_in_any_order_and_in_requests_of_their_own(fresh: Site) -> None:
    datasets, truth = ct_series((9, 8, 8), patient=52)
    for dataset in [*datasets[::2], *datasets[1::2]]:
        assert fresh.store([encode(dataset)]).status_code == 200
    np.testing.assert_array_equal(fresh.services.cases.volume(datasets[0].SeriesInstanceUID).voxels, truth.voxels)


def test_one_uid_is_one_object_within_a_request_too(fresh: Site) -> None:
    one, other = ct_series((2, 8, 8), patient=53)[0]
    moved = another(other, SeriesInstanceUID=uid("another series"))
    moved.SOPInstanceUID = moved.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    answer = fresh.store([encode(one), encode(moved), encode(one)])
    assert outcome(answer) == ([str(one.SOPInstanceUID)] * 2, {str(one.SOPInstanceUID): DUPLICATE})


def test_a_damaged_file_in_the_folder_is_left_out_and_can_be_set_aside(fresh: Site, kinds) -> None:
    series = str(kinds["oblique"][0].SeriesInstanceUID)
    before = fresh.services.cases.volume(series)
    bad = fresh.folder / "oblique" / "cut #1.dcm"
    bad.write_bytes(cut(another(kinds["oblique"][0])))
    fresh.services.sync.run()
    unchanged(fresh, series, before)
    (listed,) = requests.get(f"{fresh.address}/api/v1/quarantine", timeout=10).json()
    assert listed["path"] == "oblique/cut #1.dcm"
    assert "before its pixels do" in listed["reason"]
    assert "cut #1.dcm" in requests.get(f"{fresh.address}/dashboard/panels/archive", timeout=10).text
    good = next(path for path in (fresh.folder / "oblique").iterdir() if path != bad)
    for path in ("..%2Fx", f"oblique/{good.name}"):
        assert requests.delete(f"{fresh.address}/api/v1/quarantine/{path}", timeout=10).status_code == 404
    assert good.exists()
    assert requests.delete(f"{fresh.address}/api/v1/quarantine/oblique/cut%20%231.dcm", timeout=10).status_code == 204
    assert requests.get(f"{fresh.address}/api/v1/quarantine", timeout=10).json() == []
    assert not bad.exists()
    assert (fresh.folder / ".quarantine" / "oblique" / "cut #1.dcm").exists()


def test_what_was_stored_can_be_taken_back(fresh: Site) -> None:
    one = ct_series((1, 8, 8), patient=54)[0][0]
    assert fresh.store([encode(one)]).ok
    path = f"received/{one.SeriesInstanceUID}/{one.SOPInstanceUID}.dcm"
    assert requests.delete(f"{fresh.address}/api/v1/quarantine/{path}", timeout=10).status_code == 204
    assert fresh.get(f"/studies/{one.StudyInstanceUID}/metadata").status_code == 404
    with pytest.raises(UnknownCase):
        fresh.services.cases.get(str(one.SeriesInstanceUID))
