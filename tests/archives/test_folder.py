"""The folder archive: what it finds, what it passes over, what it notices, and where labels go."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.archives.folder import FolderArchive, FolderOptions, index
from app.archives.folder.durable import put
from app.archives.folder.index import FolderIndex
from app.core.archive import Delivery
from app.core.case import Case
from app.core.progress import ignore_progress
from app.core.volume import Volume
from app.errors import ArchiveUnavailable, BadFile, BadOption, Conflict, IntegrityError, NotFound, UnknownCase
from app.formats.volume_files import NIFTI_DATA_OFFSET, nifti_header_bytes, write_nifti
from app.settings import MASKS
from tests.counting import calls
from tests.dicom.synthetic import ct_series, encode, grid, mr_series, phantom, uid, write_series
from tests.volumes import write_volume

SHAPE = (4, 6, 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture
def archive(folder: Path) -> Iterator[FolderArchive]:
    opened = open_archive(folder)
    yield opened
    opened.close()


def open_archive(folder: Path, **options: object) -> FolderArchive:
    return FolderArchive(FolderOptions(folder, folder.parent / "index.sqlite", **options))  # type: ignore[arg-type]


def add_volume(path: Path, seed: int = 0) -> Volume:
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = Volume(phantom(SHAPE, seed), grid(SHAPE, "oblique"))
    write_nifti(path, volume, compress=path.name.endswith(".gz"))
    return volume


def ids(archive: FolderArchive, cursor: str | None = None) -> list[str]:
    return sorted(case.id for case in archive.list(cursor).cases)


# What is a case


def test_finds_series_in_any_layout_and_volume_files(folder: Path, archive: FolderArchive) -> None:
    ct, _ = ct_series()
    mr, _ = mr_series(patient=1)
    write_series(ct[:4], folder / "a" / "deep er" / "place")
    for number, dataset in enumerate(ct[4:] + mr):
        (folder / f"IM{number:06d}").write_bytes(encode(dataset))
    add_volume(folder / "liver_1.nii.gz")
    add_volume(folder / "b" / "Spleen.NII")
    assert ids(archive) == sorted([ct[0].SeriesInstanceUID, mr[0].SeriesInstanceUID, "liver_1", "Spleen"])
    assert archive.index.case(ct[0].SeriesInstanceUID).instances == 9


def test_reads_volume_files_as_they_are(folder: Path, archive: FolderArchive) -> None:
    volume = add_volume(folder / "liver.nii.gz")
    (case,) = archive.list(None).cases
    fetched = archive.fetch(case, ignore_progress)
    np.testing.assert_array_equal(fetched.volume.voxels, volume.voxels)
    assert volume.geometry.difference(fetched.volume.geometry) is None
    assert (case.kind, len(fetched.headers)) == ("file", 0)


def test_passes_over_what_is_no_image(folder: Path, archive: FolderArchive) -> None:
    ct, _ = ct_series((1, 8, 8))
    ct[0].Modality = "SEG"
    write_series(ct, folder / "labels" / "final" / "x")
    (folder / ".hidden").mkdir()
    shutil.copytree(folder / "labels" / "final", folder / ".hidden" / "copy")
    add_volume(folder / ".hidden.nii.gz")
    add_volume(folder / "labels" / "final" / "liver" / "v0001.nii.gz")
    (folder / "notes.txt").write_text("hello")
    (folder / "empty").touch()
    assert ids(archive) == []
    assert archive.index.broken() == []
    assert len(archive.client.search_for_series(search_filters={"Modality": "SEG"})) == 1


def test_leaves_out_what_it_is_told_to(folder: Path) -> None:
    add_volume(folder / "a.nii.gz")
    add_volume(folder / "a_seg.nii.gz")
    add_volume(folder / "old" / "b.nii.gz")
    archive = open_archive(folder, ignore=("*_seg.nii.gz", "old"))
    assert ids(archive) == ["a"]
    archive.close()


def test_broken_files_are_named_and_do_no_harm(folder: Path, archive: FolderArchive) -> None:
    ct, _ = ct_series()
    write_series(ct, folder)
    (folder / "cut.dcm").write_bytes(encode(ct[0])[:300])
    (folder / "no-uids.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    (folder / "liar.nii").write_bytes(b"\x5c\x01\0\0" + bytes(344) + b"n+1\0")
    (folder / "detached.nrrd").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\ndata file: /etc/passwd\n\n"
    )
    traversal = ct_series((1, 8, 8), patient=5)[0][0]
    encoded = encode(traversal).replace(traversal.StudyInstanceUID.encode(), b"../" * 10 + b"x" * 10)
    (folder / "traversal.dcm").write_bytes(encoded)
    assert ids(archive) == [ct[0].SeriesInstanceUID]
    broken = dict(archive.index.broken())
    assert {"no-uids.dcm", "liar.nii", "detached.nrrd", "traversal.dcm"} <= set(broken)
    assert all(broken.values())
    assert "can't be used" in archive.check()


def test_links_lead_nowhere_outside(folder: Path, tmp_path: Path, archive: FolderArchive) -> None:
    outside = tmp_path / "outside"
    add_volume(outside / "secret.nii.gz")
    (folder / "link.nii.gz").symlink_to(outside / "secret.nii.gz")
    (folder / "folder").symlink_to(outside)
    (folder / "circle").symlink_to(folder)
    (folder / "dangling.nii.gz").symlink_to(folder / "nothing")
    add_volume(folder / ".store" / "0001.nii.gz")
    (folder / "inside.nii.gz").symlink_to(folder / ".store" / "0001.nii.gz")
    assert ids(archive) == ["inside"]


def test_a_link_put_in_a_file_s_place_is_not_followed(folder: Path, tmp_path: Path, archive: FolderArchive) -> None:
    add_volume(tmp_path / "outside" / "secret.nii.gz")
    add_volume(folder / "a.nii.gz")
    (case,) = archive.list(None).cases
    (folder / "a.nii.gz").unlink()
    (folder / "a.nii.gz").symlink_to(tmp_path / "outside" / "secret.nii.gz")
    with pytest.raises(UnknownCase):
        archive.fetch(case, ignore_progress)


def test_files_of_one_name_have_ids_of_their_own_that_stay(folder: Path, archive: FolderArchive) -> None:
    add_volume(folder / "p1" / "image.nii.gz")
    assert ids(archive) == ["image"]
    add_volume(folder / "p2" / "image.nii.gz", 1)
    add_volume(folder / "p2" / "image.nii", 2)
    add_volume(folder / "image.nii.gz", 3)
    cases = {case.location: case.id for case in archive.list(None).cases}
    assert cases["p1/image.nii.gz"] == "image"
    assert cases["p2/image.nii"] == "p2__image"
    assert cases["p2/image.nii.gz"] == "p2__image.nii.gz"
    assert len(set(cases.values())) == 4


def test_a_volume_file_that_moves_keeps_its_id(folder: Path, archive: FolderArchive) -> None:
    add_volume(folder / "image.nii.gz")
    cursor = archive.list(None).cursor
    (folder / "done").mkdir()
    (folder / "image.nii.gz").rename(folder / "done" / "image.nii.gz")
    listing = archive.list(cursor)
    assert [(case.id, case.location) for case in listing.cases] == [("image", "done/image.nii.gz")]
    assert listing.gone == ()


# What changed


def test_notices_what_changes_and_no_more(folder: Path, archive: FolderArchive) -> None:
    ct, _ = ct_series()
    mr, _ = mr_series(patient=1)
    paths = write_series(ct, folder / "ct")
    write_series(mr, folder / "mr")
    add_volume(folder / "a.nii.gz")
    first = archive.list(None)
    stamps = {case.id: case.stamp for case in first.cases}
    assert archive.list(first.cursor).cases == ()
    os.utime(paths[0])
    add_volume(folder / "a.nii.gz", 1)
    second = archive.list(first.cursor)
    assert {case.id for case in second.cases} == {ct[0].SeriesInstanceUID, "a"}
    assert all(stamps[case.id] != case.stamp for case in second.cases)
    paths[0].unlink()
    third = archive.list(second.cursor)
    assert [case.instances for case in third.cases] == [8]
    shutil.rmtree(folder / "ct")
    (folder / "a.nii.gz").unlink()
    fourth = archive.list(third.cursor)
    assert (fourth.cases, set(fourth.gone)) == ((), {ct[0].SeriesInstanceUID, "a"})
    assert ids(archive) == [mr[0].SeriesInstanceUID]


def test_a_file_that_was_broken_is_looked_at_again_when_it_changes(folder: Path, archive: FolderArchive) -> None:
    (folder / "a.nii.gz").write_bytes(b"half")
    assert ids(archive) == []
    add_volume(folder / "a.nii.gz")
    assert ids(archive) == ["a"]


def test_remembers_over_a_restart(folder: Path, archive: FolderArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(ct_series()[0], folder)
    cursor = archive.list(None).cursor
    archive.close()
    again = open_archive(folder)
    monkeypatch.setattr("app.archives.folder.index.examine", lambda *args: pytest.fail("looked into a known file"))
    assert again.list(cursor).cases == ()
    assert len(again.list(None).cases) == 1
    again.close()


def test_a_scan_that_was_killed_is_made_good(
    folder: Path, archive: FolderArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(ct_series()[0], folder)
    with monkeypatch.context() as patch:
        patch.setattr(FolderIndex, "_refresh_cases", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            archive.list(None)
    assert len(archive.list(None).cases) == 1


@pytest.mark.parametrize("content", [b"", b"not SQLite at all, but as long as its header would be" * 20])
def test_a_damaged_index_is_made_again(folder: Path, content: bytes) -> None:
    write_series(ct_series()[0], folder)
    (folder.parent / "index.sqlite").write_bytes(content)
    archive = open_archive(folder)
    assert len(archive.list("old:3").cases) == 1
    archive.close()


def test_an_unreadable_subfolder_is_believed_to_be_as_it_was(
    folder: Path, archive: FolderArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(ct_series()[0], folder / "share" / "ct")
    cursor = archive.list(None).cursor
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("ct"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("os.scandir", refuse)
    assert archive.list(cursor).gone == ()


def test_many_unchanged_files_cost_little(
    folder: Path, archive: FolderArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each folder is listed once, no file is opened again, and what remains is a few calls a file."""
    for number in range(20):
        (folder / f"{number}").mkdir()
        for file in range(100):
            (folder / f"{number}" / f"{file}").touch()
    cursor = archive.list(None).cursor
    looked_into: list[str] = []
    examined: list[Path] = []
    real_scandir, real_examine = os.scandir, index.examine

    def scandir(path: str) -> object:
        looked_into.append(path)
        return real_scandir(path)

    def examine(path: Path, max_bytes: int) -> object:
        examined.append(path)
        return real_examine(path, max_bytes)

    monkeypatch.setattr("os.scandir", scandir)
    monkeypatch.setattr(index, "examine", examine)
    count = calls(lambda: archive.list(cursor))
    assert len(looked_into) == len(set(looked_into)) == 21
    assert examined == []
    assert count < 25 * 2000
    # What counts would count, if there were something.
    (folder / "3" / "new").touch()
    archive.list(cursor)
    assert [path.name for path in examined] == ["new"]


def test_several_threads_list_read_and_search_at_once(folder: Path, archive: FolderArchive) -> None:
    truths = {}
    for patient in range(4):
        datasets, truth = ct_series(seed=patient, patient=patient)
        write_series(datasets, folder / str(patient))
        truths[datasets[0].SeriesInstanceUID] = truth.voxels
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for case in archive.list(None).cases:
                np.testing.assert_array_equal(archive.fetch(case, ignore_progress).volume.voxels, truths[case.id])
                assert len(archive.client.search_for_instances(series_instance_uid=case.id)) == 9
            datasets, _ = mr_series(patient=10 + number)
            # As a whole: a series that is still being written can't be fetched, which is an error of its own.
            write_series(datasets, folder.parent / f"new{number}")
            (folder.parent / f"new{number}").rename(folder / f"new{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f for f in failures if not isinstance(f, KeyError)] == []
    assert len(archive.list(None).cases) == 8


def test_a_case_nobody_listed_yet_can_be_fetched(folder: Path, archive: FolderArchive) -> None:
    ct, truth = ct_series()
    write_series(ct, folder)
    case = Case(ct[0].SeriesInstanceUID, "series", "?")
    np.testing.assert_array_equal(archive.fetch(case, ignore_progress).volume.voxels, truth.voxels)


# Searching


@pytest.fixture
def searchable(folder: Path, archive: FolderArchive) -> FolderArchive:
    for patient in range(3):
        datasets, _ = ct_series((2, 4, 4), patient=patient)
        for dataset in datasets:
            dataset.StudyDate = f"2024010{patient + 1}"
            dataset.StudyTime = f"1{patient}3000"
        write_series(datasets, folder / str(patient))
    write_series(mr_series((3, 4, 4), patient=2)[0], folder / "mr")
    archive.list(None)
    return archive


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 4),
        ({"Modality": "CT"}, 3),
        ({"00080060": "MR"}, 1),
        ({"Modality": "CT\\MR"}, 4),
        ({"Modality": "C?"}, 3),
        ({"PatientID": "PHANTOM-0000[12]"}, 0),
        ({"PatientID": "*00001"}, 1),
        ({"PatientName": "phantom^*1"}, 1),
        ({"PatientName": "nobody"}, 0),
        ({"StudyDate": "20240102-"}, 3),
        ({"StudyDate": "-20240102"}, 3),
        ({"StudyDate": "20240102-20240102"}, 2),
        ({"StudyTime": "1000-1030"}, 2),
        ({"SeriesInstanceUID": "1.2.3"}, 0),
        ({"StudyInstanceUID": uid("study", 2)}, 2),
        ({"StudyInstanceUID": f"{uid('study', 0)},{uid('study', 1)}"}, 2),
        ({"StudyInstanceUID": f"{uid('study', 0)}\\{uid('study', 1)}"}, 2),
        ({"BodyPartExamined": "ABDOMEN", "Modality": "MR"}, 1),
        ({"AccessionNumber": "A0000001"}, 1),
        ({"SeriesDescription": ""}, 4),
        ({"ProtocolName": "not said"}, 0),
    ],
)
def test_searches_series(searchable: FolderArchive, filters: dict[str, str], count: int) -> None:
    assert len(searchable.client.search_for_series(search_filters=filters)) == count


@pytest.mark.parametrize("name", ["Modallity", "GGGG0001", "PixelData", "ReferencedSeriesSequence", "../x"])
def test_a_filter_it_doesn_t_know_is_an_error(searchable: FolderArchive, name: str) -> None:
    for search in (searchable.client.search_for_studies, searchable.client.search_for_instances):
        with pytest.raises(BadOption):
            search(search_filters={name: "x"})


def test_results_hold_what_the_standard_lists_and_what_is_asked_for(searchable: FolderArchive) -> None:
    (study,) = searchable.client.search_for_studies(search_filters={"PatientID": "PHANTOM-00002"})
    assert study["00080061"]["Value"] == ["CT", "MR"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([2], [5])
    assert searchable.client.search_for_studies(search_filters={"ModalitiesInStudy": "MR"}) == [study]
    (series,) = searchable.client.search_for_series(search_filters={"Modality": "MR"}, fields=["EchoTime"])
    assert series["00201209"]["Value"] == [3]
    assert series["00180081"]["Value"] == [10.0]
    assert "00181030" not in series
    assert "00180081" not in searchable.client.search_for_series(search_filters={"Modality": "MR"})[0]


def test_pages_are_stable(searchable: FolderArchive) -> None:
    search = searchable.client.search_for_instances
    everything = search()
    assert len(everything) == 9
    assert [search(limit=2, offset=offset) for offset in range(0, 10, 2)] == [
        everything[offset : offset + 2] for offset in range(0, 10, 2)
    ]


def test_names_match_by_word_beginnings_when_fuzzy(searchable: FolderArchive) -> None:
    search = searchable.client.search_for_series
    assert len(search(search_filters={"PatientName": "phan 00002"}, fuzzymatching=True)) == 2
    assert search(search_filters={"PatientName": "phan 00002"}) == []


def test_retrieves_instances_and_their_headers(folder: Path, archive: FolderArchive) -> None:
    ct, _ = ct_series()
    write_series(ct, folder)
    archive.list(None)
    where = (ct[0].StudyInstanceUID, ct[0].SeriesInstanceUID)
    series = {d.SOPInstanceUID: d for d in archive.client.retrieve_series(*where)}
    assert series == {d.SOPInstanceUID: d for d in ct}
    assert archive.client.retrieve_instance(*where, ct[3].SOPInstanceUID) == ct[3]
    header = archive.client.retrieve_instance_metadata(*where, ct[3].SOPInstanceUID)
    assert header["00080018"]["Value"] == [ct[3].SOPInstanceUID]
    assert "7FE00010" not in header
    assert len(archive.client.retrieve_series_metadata(*where)) == 9
    with pytest.raises(NotFound):
        archive.client.retrieve_instance(*where, uid("nothing"))


def test_stores_instances_once(folder: Path, archive: FolderArchive) -> None:
    ct, truth = ct_series()
    for _ in range(2):
        answer = archive.client.store_instances(ct, ct[0].StudyInstanceUID)
        assert len(answer.ReferencedSOPSequence) == 9
        assert "FailedSOPSequence" not in answer
    (case,) = archive.list(None).cases
    np.testing.assert_array_equal(archive.fetch(case, ignore_progress).volume.voxels, truth.voxels)
    other = ct_series(seed=1)[0][0]
    other.SOPInstanceUID = ct[0].SOPInstanceUID
    stray = ct_series((1, 4, 4), patient=3)[0][0]
    stray.SOPInstanceUID = stray.file_meta.MediaStorageSOPInstanceUID = "../../etc"
    answer = archive.client.store_instances([other, stray])
    assert [item.FailureReason for item in answer.FailedSOPSequence] == [0x0111, 0xC000]


# Labels


def label_file(folder: Path, content: bytes = b"\x1f\x8b label") -> Delivery:
    path = folder.parent / "label"
    path.write_bytes(content)
    return Delivery(Case("liver 1", "file", "1"), path, "final", 3, hashlib.sha256(content).hexdigest(), "")


def test_labels_lie_where_a_person_finds_them(folder: Path, archive: FolderArchive) -> None:
    receipt = archive.store(label_file(folder))
    assert receipt.location == str(folder / "labels" / "final" / "liver 1" / "v0003.nii.gz")
    assert archive.store(label_file(folder)) == receipt
    with pytest.raises(Conflict):
        archive.store(label_file(folder, b"\x1f\x8b other"))
    assert Path(receipt.location).read_bytes() == b"\x1f\x8b label"


def test_labels_go_where_they_are_told_to(folder: Path, tmp_path: Path) -> None:
    archive = open_archive(folder, labels_dir=tmp_path / "elsewhere")
    receipt = archive.store(label_file(folder, b"plain"))
    assert receipt.location == str(tmp_path / "elsewhere" / "final" / "liver 1" / "v0003.nii")
    archive.close()


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "x\0y"])
def test_no_label_leaves_its_folder(folder: Path, archive: FolderArchive, name: str) -> None:
    given = label_file(folder)
    with pytest.raises(BadFile):
        archive.store(Delivery(given.case, given.file, name, 1, given.sha256, ""))
    with pytest.raises(BadFile):
        archive.store(Delivery(Case(name, "file", "1"), given.file, "final", 1, given.sha256, ""))


def test_a_folder_that_can_t_be_written_to_names_the_remedy(
    folder: Path, archive: FolderArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArchiveUnavailable, match="labels_dir"):
        archive.store(label_file(folder))


def test_what_can_t_be_written_whole_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            put(b"label", folder / "v0001.dcm")
    assert list(folder.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr("app.durable.file_sha256", lambda path: "0" * 64)
        with pytest.raises(IntegrityError):
            put(b"label", folder / "v0001.dcm")


def test_an_instance_with_a_damaged_value_is_stored_once(archive: FolderArchive) -> None:
    (instance,), _ = ct_series((1, 4, 4))
    content = encode(instance).replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00ZZ")
    for _ in range(2):
        archive.client.store_file(content)
        archive.client.index.scan()
    with pytest.raises(Conflict):
        archive.client.store_file(content.replace(b"\x08\x00\x60\x00ZZ", b"\x08\x00\x60\x00YY"))


# Masks


LAYOUTS = {
    "imagesTr/liver_001_0000.nii.gz": False,
    "labelsTr/liver_001.nii.gz": True,
    "Task09_Spleen/labelsTr/spleen_2.nii.gz": True,
    "sub-01/anat/sub-01_T1w.nii.gz": False,
    "sub-01/anat/sub-01_dseg.nii.gz": True,
    "BraTS-GLI-00005/BraTS-GLI-00005-t1c.nii.gz": False,
    "BraTS-GLI-00005/BraTS-GLI-00005-seg.nii.gz": True,
    "case_00001/imaging.nii.gz": False,
    "case_00001/segmentation.nii.gz": True,
    "s0011/segmentations/spleen.nii.gz": True,
    "Segmentation.seg.nrrd": True,
    "patient001/patient001_frame01.nii.gz": False,
    "patient001/patient001_frame01_gt.nii.gz": True,
    "scan.NRRD": False,
    "scan_Mask.mha": True,
}


def test_masks_are_known_by_their_names_and_listed(folder: Path) -> None:
    for path in LAYOUTS:
        add_file(folder / path)
    archive = open_archive(folder, masks=MASKS)
    images = {case.location for case in archive.list(None).cases}
    assert images == {path for path, is_mask in LAYOUTS.items() if not is_mask}
    masks = {one.path: one.reason for one in archive.not_offered()}
    assert set(masks) == {path for path, is_mask in LAYOUTS.items() if is_mask}
    assert masks["scan_Mask.mha"] == "a mask, because its name matches *_mask.*"
    assert f"({len(masks)} of them masks)" in archive.check()
    assert archive.client.search_for_studies(search_filters={"StudyDescription": "scan_Mask*"}) == []
    cursor = archive.list(None).cursor
    archive.close()

    every = open_archive(folder, masks=())
    assert {case.location for case in every.list(cursor).cases} >= {path for path, mask in LAYOUTS.items() if mask}
    assert every.not_offered() == []
    cursor = every.list(None).cursor
    every.close()
    again = open_archive(folder, masks=MASKS)
    assert len(again.list(cursor).gone) == len(masks)
    again.close()


def add_file(path: Path) -> None:
    """A volume of the format that the name says."""
    write_volume(path, phantom(SHAPE), grid(SHAPE))


def test_an_index_of_before_keeps_the_ids_of_its_cases(folder: Path, tmp_path: Path) -> None:
    """Made by a release that kept nothing of volume files."""
    add_volume(folder / "a" / "liver.nii.gz")
    add_volume(folder / "b" / "liver.nii.gz", 1)
    add_volume(folder / "gone.nii.gz", 2)
    first = open_archive(folder)
    before = {case.location: case.id for case in first.list(None).cases}
    cursor = first.list(None).cursor
    first.close()
    with sqlite3.connect(tmp_path / "index.sqlite") as older:
        for table, column in (("files", "facts"), ("files", "slices"), ("identity", "rules")):
            older.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        older.execute("UPDATE cases SET id = 'of old' WHERE source = 'b/liver.nii.gz'")
        older.execute("""UPDATE cases SET record = replace(record, 'b__liver', 'of old')""")
        older.execute("PRAGMA user_version = 1")
    older.close()
    (folder / "gone.nii.gz").unlink()
    archive = open_archive(folder)
    listing = archive.list(cursor)
    after = {case.location: case for case in listing.cases}
    assert {path: case.id for path, case in after.items()} == {
        "a/liver.nii.gz": before["a/liver.nii.gz"],
        "b/liver.nii.gz": "of old",
    }
    assert all(case.series_uid for case in after.values())
    assert listing.gone == ("gone",)
    archive.close()


def test_listing_reads_little_of_a_volume_file(folder: Path, archive: FolderArchive) -> None:
    """A gigabyte of zeros, which takes no room on the disk."""
    shape = (512, 1024, 1024)
    file = folder / "large.nii"
    with file.open("wb") as stream:
        stream.write(nifti_header_bytes(grid(shape), np.dtype(np.int16)))
        stream.truncate(NIFTI_DATA_OFFSET + 2 * math.prod(shape))
    before = bytes_read()
    (case,) = archive.list(None).cases
    assert (case.instances, case.modality) == (512, "MR")
    assert bytes_read() - before < 8 << 20


def bytes_read() -> int:
    """By this process so far, also from the page cache."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"])
