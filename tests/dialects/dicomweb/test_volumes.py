"""Volume files over DICOMweb: series whose slices lie, and are, as SimpleITK reads the file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from app.core.mask import Mask
from app.core.volume import Geometry
from app.errors import UnknownCase
from tests.dialects.dicomweb.site import Site, parts, serving
from tests.dicom.itk import read, read_series
from tests.dicom.synthetic import ct_series, grid, phantom, write_series
from tests.volumes import grids, write_volume

SHAPE = (7, 12, 10)
OHIF_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
DICOM = 'multipart/related; type="application/dicom"'
FILES = {
    "plain": "plain.nii.gz",
    "sagittal": "sub/sagittal.nii",
    "oblique": "oblique.nrrd",
    "reversed": "reversed.nii.gz",
    "mirrored": "mirrored.mha",
    "ras": "deep/er/ras_T1w.nii.gz",
}
TYPES = {"plain": np.int16, "sagittal": np.uint8, "oblique": np.uint16, "reversed": np.int32, "ras": np.float32}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("volumes")
    for seed, (name, geometry) in enumerate(grids(SHAPE).items()):
        voxels = phantom(SHAPE, seed).astype(TYPES.get(name, np.int16))
        write_volume(folder / "studies" / FILES[name], voxels, geometry)
    write_volume(folder / "studies" / "tilted.nrrd", phantom(SHAPE), grid(SHAPE, gantry_tilt=12))
    write_series(ct_series((3, 8, 8))[0], folder / "studies" / "series")
    with serving(folder, folder / "studies") as one:
        yield one


def case(site: Site, name: str) -> dict:
    return site.services.cases.get(Path(FILES[name]).name.partition(".")[0]).case


def series_path(site: Site, name: str) -> str:
    one = case(site, name)
    return f"/studies/{one.study_uid}/series/{one.series_uid}"


@pytest.mark.parametrize("name", FILES)
def test_the_series_is_the_file(site: Site, tmp_path: Path, name: str) -> None:
    """Downloaded whole, and read by GDCM."""
    voxels, geometry = read(site.folder / FILES[name])
    for number, (_, file) in enumerate(parts(site.get(series_path(site, name), DICOM))):
        (tmp_path / f"{number}.dcm").write_bytes(file)
    seen, place = read_series(tmp_path)
    np.testing.assert_array_equal(*on_one_grid(voxels, geometry, seen, place))


def on_one_grid(voxels, geometry: Geometry, seen, place: Geometry):
    """`seen` as it lies on the voxels of `geometry`."""
    k, j, i = np.meshgrid(*map(np.arange, geometry.shape), indexing="ij")
    points = np.stack([i, j, k, np.ones_like(i)], -1) @ geometry.affine.T
    at = points @ np.linalg.inv(place.affine).T
    assert np.abs(at - np.rint(at)).max() < 1e-4
    i, j, k = np.rint(at[..., :3]).astype(int).transpose(3, 0, 1, 2)
    return voxels.astype(np.float64), seen[k, j, i].astype(np.float64)


@pytest.mark.parametrize("name", ["reversed", "ras"])
def test_metadata_and_frames_are_the_instances(site: Site, name: str) -> None:
    path = series_path(site, name)
    files = {
        str(one.SOPInstanceUID): one
        for one in (pydicom.dcmread(io.BytesIO(file)) for _, file in parts(site.get(path, DICOM)))
    }
    entries = site.get(f"{path}/metadata").json()
    assert [entry["00080018"]["Value"][0] for entry in entries] == list(files)
    assert len(files) == SHAPE[0]
    for uid, dataset in files.items():
        (entry,) = (entry for entry in entries if entry["00080018"]["Value"] == [uid])
        header = pydicom.Dataset.from_json({key: value for key, value in entry.items() if "BulkDataURI" not in value})
        del header.AvailableTransferSyntaxUID
        pixels = dataset.pop("PixelData").value
        assert header == dataset
        assert entry["7FE00010"]["BulkDataURI"] == f"{site.url}{path}/instances/{uid}/bulkdata/7FE00010"
        ((kind, frame),) = parts(site.get(f"{path}/instances/{uid}/frames/1", OHIF_FRAMES))
        assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        assert frame == pixels
    assert site.get(f"{path}/instances/{uid}/frames/2", OHIF_FRAMES).status_code == 400
    assert site.get(f"{path}/instances/{uid}0/frames/1", OHIF_FRAMES).status_code == 404


def test_searches_find_volumes_among_series(site: Site) -> None:
    studies = {one["00100020"]["Value"][0]: one for one in site.get("/studies?includefield=00081030").json()}
    assert set(studies) == {*(Path(path).name.partition(".")[0] for path in FILES.values()), "PHANTOM-00000"}
    one = studies["ras_T1w"]
    assert one["00081030"]["Value"] == ["deep/er/ras_T1w.nii.gz"]
    assert (one["00201208"]["Value"], one["00080061"]["Value"]) == ([SHAPE[0]], ["MR"])
    assert studies["plain"]["00080061"]["Value"] == ["CT"]
    assert len(site.get("/studies?limit=3&offset=1").json()) == 3
    assert [entry["00100020"]["Value"] for entry in site.get("/studies?PatientName=obl*").json()] == [["oblique"]]
    path = series_path(site, "oblique")
    (found,) = site.get(f"{path.partition('/series')[0]}/series").json()
    assert found["00201209"]["Value"] == [SHAPE[0]]
    instances = site.get(f"{path}/instances").json()
    assert [entry["00200013"]["Value"][0] for entry in instances] == list(range(1, SHAPE[0] + 1))
    assert instances[0]["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    uid = instances[3]["00080018"]["Value"][0]
    (same,) = site.get(f"/instances?SOPInstanceUID={uid}").json()
    assert same == instances[3]


def test_what_was_seen_is_sent_once(site: Site) -> None:
    path = series_path(site, "plain")
    for resource in (f"{path}/metadata", f"{path}/instances/{case(site, 'plain').series_uid}.1/frames/1"):
        first = site.get(resource, OHIF_FRAMES if "frames" in resource else "")
        again = site.get(resource, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_pictures(site: Site) -> None:
    answer = site.get(f"{series_path(site, 'plain')}/thumbnail", "image/png")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert picture.shape[0] == 128
    assert picture.max() > picture.min()


def test_a_segmentation_that_refers_to_the_slices_is_a_label(site: Site) -> None:
    one = case(site, "mirrored")
    geometry = site.services.cases.volume(one.id).geometry
    voxels = np.random.default_rng(5).integers(0, 2, SHAPE, np.uint8)
    name = site.services.settings.labels.structures[0]
    file = site.services.labels.dicom_seg(one.id, Mask.single(voxels, [name], geometry), [name], "Ada")
    answer = site.store([file.read_bytes()], f"/studies/{one.study_uid}")
    assert answer.status_code == 200, answer.text
    (label,) = site.services.labels.history(one.id)
    np.testing.assert_array_equal(site.services.labels.mask(label).labelmap(), voxels)
    site.services.outbox_worker.deliver_due()
    site.services.sync.run()
    (stored,) = (item["00081190"]["Value"][0] for item in answer.json()["00081199"]["Value"])
    ((_, sent),) = parts(site.get(stored.removeprefix(site.url), DICOM))
    assert pydicom.dcmread(io.BytesIO(sent)).SOPInstanceUID == label.sop_instance_uid
    series = site.get(f"/studies/{one.study_uid}/series").json()
    assert sorted(entry["00080060"]["Value"][0] for entry in series) == [one.modality, "SEG"]
    assert len(site.get(f"/studies/{one.study_uid}/metadata").json()) == SHAPE[0] + 1


def test_a_case_is_found_by_the_series_that_is_shown(site: Site) -> None:
    one = case(site, "oblique")
    found = site.services.cases.shown_as(one.series_uid)
    assert found.case == one
    with pytest.raises(UnknownCase):
        site.services.cases.shown_as(one.study_uid)


def test_sheared_volumes_are_cases_but_no_series(site: Site) -> None:
    assert site.services.cases.get("tilted").case.series_uid == ""
    assert site.get("/studies?PatientID=tilted").json() == []
    (left,) = site.services.cases.not_offered()
    assert (left.path, left.kind) == ("tilted.nrrd", "unshown")
    assert "sheared" in left.reason


def test_a_slice_is_read_without_the_file(site: Site, monkeypatch) -> None:
    """Once a volume is in the cache, its file isn't looked at again."""
    path = series_path(site, "ras")
    first = site.get(f"{path}/metadata").content
    monkeypatch.setattr("app.archives.folder.archive.read_volume", lambda *_: pytest.fail("the file is read"))
    uid = f"{case(site, 'ras').series_uid}.3"
    assert parts(site.get(f"{path}/instances/{uid}/frames/1", OHIF_FRAMES))
    assert site.get(f"{path}/metadata").content == first


def test_another_file_in_its_place_is_another_series(site: Site) -> None:
    before = case(site, "sagittal")
    path = site.folder / FILES["sagittal"]
    moved = site.folder / "elsewhere" / "sagittal.nii"
    moved.parent.mkdir()
    path.rename(moved)
    site.services.sync.run()
    after = case(site, "sagittal")
    assert (after.id, after.series_uid, after.study_uid) == (before.id, before.series_uid, before.study_uid)
    assert after.location == "elsewhere/sagittal.nii"
    write_volume(moved, phantom((5, 12, 10), 99), grid((5, 12, 10)))
    site.services.sync.run()
    assert case(site, "sagittal").series_uid != before.series_uid
    assert site.get(f"/studies/{before.study_uid}/metadata").status_code == 404
    seen = site.get(f"{series_path(site, 'sagittal')}/metadata").json()
    assert len(seen) == 5
    assert sitk.ReadImage(str(moved)).GetSize()[2] == 5
