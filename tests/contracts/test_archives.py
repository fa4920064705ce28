"""Every archive is asked the same questions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from pydicom import Dataset

from app.archives.dicomweb import DicomwebArchive, DicomwebOptions
from app.archives.memory import MemoryArchive
from app.archives.registry import ARCHIVE_TYPES, ArchiveOptions, open_archive
from app.core.archive import Archive, Delivery, DicomwebUpstream
from app.core.case import Case
from app.core.mask import Mask
from app.core.progress import ignore_progress
from app.dicom.parsing import parse
from app.dicom.seg import SegOptions, write_seg
from app.dicom.seg_read import read_seg
from app.errors import ArchiveUnavailable, Conflict, IntegrityError, UnknownCase
from tests import orthanc
from tests.dicom.synthetic import Truth, ct_series, encode, mr_series, pt_series, uid, write_series

NEEDS_ORTHANC = pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing() or "-")


class Site(Protocol):
    """An archive and a hand behind it."""

    archive: Archive

    def add(self, datasets: Sequence[Dataset]) -> None: ...

    def remove(self, series_uid: str) -> None: ...

    def go_away(self) -> None: ...

    def come_back(self) -> None: ...

    def held(self, location: str) -> bytes | Dataset:
        """What the archive holds where a receipt says that a label is."""


class MemorySite:
    def __init__(self) -> None:
        self.archive = MemoryArchive()

    def add(self, datasets: Sequence[Dataset]) -> None:
        self.archive.add_series(datasets)

    def remove(self, series_uid: str) -> None:
        self.archive.remove(series_uid)

    def go_away(self) -> None:
        self.archive.available = False

    def come_back(self) -> None:
        self.archive.available = True

    def held(self, location: str) -> bytes:
        return self.archive.labels[location]


class FolderSite:
    def __init__(self, folder: Path) -> None:
        self._folder = folder / "images"
        self._folder.mkdir()
        self.archive = open_archive(ArchiveOptions(str(self._folder), folder))

    def add(self, datasets: Sequence[Dataset]) -> None:
        write_series(datasets, self._folder / hashlib.sha256(datasets[0].SeriesInstanceUID.encode()).hexdigest()[:8])

    def remove(self, series_uid: str) -> None:
        for path in (self._folder / hashlib.sha256(series_uid.encode()).hexdigest()[:8]).iterdir():
            path.unlink()

    def go_away(self) -> None:
        self._folder.rename(self._folder.with_name("elsewhere"))

    def come_back(self) -> None:
        self._folder.with_name("elsewhere").rename(self._folder)

    def held(self, location: str) -> bytes:
        return Path(location).read_bytes()


class OrthancSite:
    def __init__(self, server: orthanc.Orthanc, options: DicomwebOptions) -> None:
        self._server = server
        self.archive = DicomwebArchive(options)

    def add(self, datasets: Sequence[Dataset]) -> None:
        self._server.upload(datasets)

    def remove(self, series_uid: str) -> None:
        self._server.delete_series(series_uid)

    def go_away(self) -> None:
        self._server.stop()

    def come_back(self) -> None:
        self._server.run()

    def held(self, location: str) -> bytes:
        return self._server.instance_at(location)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    started = orthanc.Orthanc.start(tmp_path_factory.mktemp("orthanc"))
    yield started
    started.stop()


def _orthanc(request: pytest.FixtureRequest, orthanc_url: str | None) -> Site:
    running: orthanc.Orthanc = request.getfixturevalue("server")
    running.empty()
    options = DicomwebOptions(running.url, max_retries=1, connect_timeout=2, read_timeout=10, orthanc_url=orthanc_url)
    return OrthancSite(running, options)


Make = Callable[[pytest.FixtureRequest, Path], Site]

ROWS: dict[str, dict[str, Make]] = {
    "folder": {"folder": lambda request, folder: FolderSite(folder)},
    "http": {
        "orthanc": lambda request, folder: _orthanc(request, None),
        "qido": lambda request, folder: _orthanc(request, ""),
    },
    "https": {},  # opened by the same function as http
}
"""Archive type -> the sites it is asked at. One that another package registers gets a row here too."""

MARKS = {"http": [pytest.mark.orthanc, NEEDS_ORTHANC]}
SITES = [
    pytest.param(lambda request, folder: MemorySite(), id="memory"),
    *(
        pytest.param(make, id=name, marks=MARKS.get(type_, ()))
        for type_ in ARCHIVE_TYPES.names()
        for name, make in ROWS.get(type_, {}).items()
    ),
]


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made: Site = request.param(request, tmp_path)
    yield made
    made.archive.close()


def test_every_type_is_asked() -> None:
    found = ARCHIVE_TYPES.find()
    assert found.broken == ()
    assert set(found.found) == set(ROWS)
    assert found.found["https"].open is found.found["http"].open


class Known:
    """What someone knows who keeps asking an archive what changed."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._cursor: str | None = None
        self.cases: dict[str, Case] = {}

    def refresh(self) -> set[str]:
        """Ask again; the ids of the cases that are new or changed."""
        listing = self._archive.list(self._cursor)
        self._cursor = listing.cursor
        before = dict(self.cases)
        if listing.complete:
            self.cases = {}
        self.cases.update({case.id: case for case in listing.cases})
        for case_id in listing.gone:
            del self.cases[case_id]
        return {case_id for case_id, case in self.cases.items() if before.get(case_id) != case}


def label_of(site: Site, case: Case, folder: Path, version: int = 1) -> tuple[Delivery, Mask]:
    """A DICOM SEG of a case, on its way."""
    fetched = site.archive.fetch(case, ignore_progress)
    voxels = np.zeros(fetched.volume.geometry.shape, np.uint8)
    voxels[2:5, 3 : 8 + version, 4:9] = 1
    voxels[5:7, 3:8, 2:6] = 2
    mask = Mask.single(voxels, ["liver", "spleen"], fetched.volume.geometry)
    options = SegOptions(uid("label", case.id, version), uid("labels", case.id), instance_number=version)
    path = folder / f"label-{version}.dcm"
    write_seg(mask, fetched.headers, path, options)
    return delivery(case, path, version), mask


def delivery(case: Case, path: Path, version: int) -> Delivery:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return Delivery(case, path, "final", version, digest, str(parse(data).SOPInstanceUID))


def test_lists_image_series_with_what_is_known_of_them(site: Site) -> None:
    ct, _ = ct_series()
    mr, _ = mr_series(patient=1)
    site.add(ct)
    site.add(mr)
    listing = site.archive.list(None)
    cases = {case.modality: case for case in listing.cases}
    assert listing.complete
    assert set(cases) == {"CT", "MR"}
    case = cases["CT"]
    assert case.id == case.series_uid == ct[0].SeriesInstanceUID
    assert (case.kind, case.study_uid, case.instances) == ("series", ct[0].StudyInstanceUID, 9)
    assert (case.patient_id, case.description) == ("PHANTOM-00000", "Synthetic CT")
    assert (case.body_part, case.manufacturer) == ("ABDOMEN", "Synthetic")
    assert (case.study_date, case.study_time) == ("20240102", "101112")


def test_dicomweb_is_a_service_or_files_or_nothing(site: Site) -> None:
    ct, _ = ct_series()
    site.add(ct)
    site.archive.list(None)
    offered = site.archive.dicomweb()
    if isinstance(offered, DicomwebUpstream):
        assert offered.url.startswith("http")
    elif offered is not None:
        study, series = str(ct[0].StudyInstanceUID), str(ct[0].SeriesInstanceUID)
        files = offered.files(study, series)
        assert {file.sop for file in files} == {str(one.SOPInstanceUID) for one in ct}
        assert all(file.path.is_file() for file in files)
        assert len(offered.search_for_series(study)) == 1


def test_an_empty_archive_lists_nothing(site: Site) -> None:
    assert site.archive.list(None).cases == ()
    assert site.archive.check()


def test_says_what_appears_changes_and_disappears(site: Site) -> None:
    ct, _ = ct_series()
    mr, _ = mr_series(patient=1)
    known = Known(site.archive)
    site.add(ct[:5])
    assert known.refresh() == {ct[0].SeriesInstanceUID}
    assert known.refresh() == set()
    stamp = known.cases[ct[0].SeriesInstanceUID].stamp
    site.add(mr)
    assert known.refresh() == {mr[0].SeriesInstanceUID}
    site.add(ct)
    assert known.refresh() == {ct[0].SeriesInstanceUID}
    assert known.cases[ct[0].SeriesInstanceUID].stamp != stamp
    site.remove(ct[0].SeriesInstanceUID)
    known.refresh()
    assert set(known.cases) == {mr[0].SeriesInstanceUID}
    site.add(ct)
    assert known.refresh() == {ct[0].SeriesInstanceUID}


def test_a_stranger_s_cursor_lists_everything(site: Site) -> None:
    ct, _ = ct_series()
    site.add(ct)
    listing = site.archive.list("from another archive: 7")
    assert listing.complete
    assert len(listing.cases) == 1


SERIES = {
    "axial": ct_series,
    "oblique": lambda: ct_series(orientation="oblique", spacing=(0.9, 0.6, 3.0)),
    "sagittal mr": lambda: mr_series(orientation="sagittal"),
    "reversed": lambda: ct_series(reversed=True),
    "tilted": lambda: ct_series(gantry_tilt=12),
    "pet": pt_series,
    "rle": lambda: ct_series(transfer_syntax="1.2.840.10008.1.2.5"),
    "implicit": lambda: ct_series(transfer_syntax="1.2.840.10008.1.2"),
}


@pytest.mark.parametrize("name", SERIES)
def test_fetches_the_true_voxels_in_their_true_place(site: Site, name: str) -> None:
    datasets, truth = SERIES[name]()
    site.add(datasets)
    (case,) = site.archive.list(None).cases
    steps: list[float] = []
    fetched = site.archive.fetch(case, lambda done, text="": steps.append(done))
    _check_truth(fetched.volume.voxels, truth)
    assert truth.geometry.difference(fetched.volume.geometry) is None
    assert fetched.volume.modality == datasets[0].Modality
    assert steps == sorted(steps)
    assert all(0 <= done <= 1 for done in steps)


def _check_truth(voxels: np.ndarray, truth: Truth) -> None:
    assert voxels.shape == truth.voxels.shape
    if truth.voxels.dtype.kind == "f":
        np.testing.assert_allclose(voxels, truth.voxels, rtol=1e-5)
    else:
        np.testing.assert_array_equal(voxels, truth.voxels)


def test_hands_out_headers_in_slice_order_without_pixels(site: Site) -> None:
    datasets, truth = ct_series(reversed=True)
    site.add(datasets)
    (case,) = site.archive.list(None).cases
    headers = site.archive.fetch(case, ignore_progress).headers
    places = [float(header.ImagePositionPatient[2]) for header in headers]
    assert places == sorted(places)
    assert len(headers) == truth.geometry.shape[0]
    assert {str(h.SOPInstanceUID) for h in headers} == {str(d.SOPInstanceUID) for d in datasets}
    assert not any("PixelData" in header for header in headers)


def test_an_unknown_case_is_an_error(site: Site) -> None:
    ct, _ = ct_series()
    site.add(ct)
    unknown = Case(uid("nothing"), "series", "1", study_uid=uid("no study"), series_uid=uid("nothing"))
    with pytest.raises(UnknownCase):
        site.archive.fetch(unknown, ignore_progress)
    with pytest.raises(UnknownCase):
        site.archive.fetch(Case("../../etc", "series", "1", study_uid="../..", series_uid="../../etc"), ignore_progress)


def test_a_removed_case_is_unknown(site: Site) -> None:
    ct, _ = ct_series()
    site.add(ct)
    (case,) = site.archive.list(None).cases
    site.remove(case.series_uid)
    with pytest.raises(UnknownCase):
        site.archive.fetch(case, ignore_progress)


def test_stores_a_label_that_reads_back_equal(site: Site, tmp_path: Path) -> None:
    ct, _ = ct_series(orientation="oblique", reversed=True)
    site.add(ct)
    (case,) = site.archive.list(None).cases
    sent, mask = label_of(site, case, tmp_path)
    receipt = site.archive.store(sent)
    held = site.held(receipt.location)
    copy = tmp_path / "held.dcm"
    copy.write_bytes(held if isinstance(held, bytes) else encode(held))
    np.testing.assert_array_equal(read_seg(copy, mask.geometry).labelmap(), mask.labelmap())


def test_storing_again_is_harmless_and_versions_stand_side_by_side(site: Site, tmp_path: Path) -> None:
    ct, _ = ct_series()
    site.add(ct)
    (case,) = site.archive.list(None).cases
    first, _ = label_of(site, case, tmp_path, 1)
    second, _ = label_of(site, case, tmp_path, 2)
    receipts = [site.archive.store(sent) for sent in (first, first, second, first)]
    assert receipts[0] == receipts[1] == receipts[3] != receipts[2]
    assert site.held(receipts[0].location) != site.held(receipts[2].location)


def test_labels_are_no_cases(site: Site, tmp_path: Path) -> None:
    ct, _ = ct_series()
    site.add(ct)
    known = Known(site.archive)
    known.refresh()
    (case,) = known.cases.values()
    site.archive.store(label_of(site, case, tmp_path)[0])
    assert known.refresh() == set()
    assert [c.id for c in site.archive.list(None).cases] == [case.id]


def test_another_label_in_the_same_place_is_refused(site: Site, tmp_path: Path) -> None:
    ct, _ = ct_series()
    site.add(ct)
    (case,) = site.archive.list(None).cases
    sent, _ = label_of(site, case, tmp_path)
    receipt = site.archive.store(sent)
    held = site.held(receipt.location)
    other = parse(sent.file.read_bytes())
    other.PixelData = bytes(len(other.PixelData))
    path = tmp_path / "other.dcm"
    path.write_bytes(encode(other))
    with pytest.raises(Conflict):
        site.archive.store(delivery(case, path, 1))
    assert site.held(receipt.location) == held


def test_a_label_that_changed_on_disk_is_not_stored(site: Site, tmp_path: Path) -> None:
    ct, _ = ct_series()
    site.add(ct)
    (case,) = site.archive.list(None).cases
    sent, _ = label_of(site, case, tmp_path)
    with sent.file.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    with pytest.raises(IntegrityError):
        site.archive.store(sent)


def test_says_that_it_is_away_and_recovers(site: Site, tmp_path: Path) -> None:
    ct, truth = ct_series()
    site.add(ct)
    known = Known(site.archive)
    known.refresh()
    (case,) = known.cases.values()
    sent, _ = label_of(site, case, tmp_path)
    site.go_away()
    for call in (
        lambda: site.archive.list(None),
        lambda: site.archive.fetch(case, ignore_progress),
        lambda: site.archive.store(sent),
        site.archive.check,
    ):
        with pytest.raises(ArchiveUnavailable):
            call()
    site.come_back()
    assert known.refresh() == set()
    np.testing.assert_array_equal(site.archive.fetch(case, ignore_progress).volume.voxels, truth.voxels)
    site.archive.store(sent)
    assert site.archive.check()
