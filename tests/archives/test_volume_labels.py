"""Labels of volume files: a labelmap in the image's format and a DICOM SEG, read by other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from app.core.label import Submission
from app.core.mask import Mask, Segment
from app.core.volume import Geometry
from app.project import fsck
from app.services import Services
from app.settings import Settings
from app.workspace import Workspace, seg_beside
from tests.dicom.itk import read
from tests.dicom.synthetic import grid, phantom
from tests.volumes import grids, write_volume

SHAPE = (7, 12, 10)
ENDINGS = {"plain": ".nii.gz", "sagittal": ".mha", "oblique": ".nrrd", "reversed": ".nii.gz", "mirrored": ".nrrd"}
NAMES = ["liver", "spleen"]


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("labels")
    for seed, (name, geometry) in enumerate(grids(SHAPE).items()):
        write_volume(folder / "studies" / f"{name}{ENDINGS.get(name, '.mha')}", phantom(SHAPE, seed), geometry)
    write_volume(folder / "studies" / "tilted.nrrd", phantom(SHAPE), grid(SHAPE, gantry_tilt=12))
    one = opened(folder)
    yield one
    one.project.close()


def opened(folder: Path) -> Services:
    values = {"studies": str(folder / "studies"), "workspace": folder / "workspace", "device": "cpu", "models": {}}
    one = Services.open(Settings(**values, labels={"structures": NAMES}))
    one.sync.run()
    return one


def submitted(services: Services, name: str, seed: int = 0):
    geometry = services.cases.volume(name).geometry
    voxels = np.random.default_rng(seed).integers(0, 3, geometry.shape, np.uint8)
    label = services.labels.submit_mask(name, Mask.single(voxels, NAMES, geometry), Submission("Ada", "test"))
    return label, voxels, geometry


@pytest.mark.parametrize("name", grids(SHAPE))
def test_the_labelmap_and_the_seg_hold_the_voxels(services: Services, name: str) -> None:
    """The labelmap by SimpleITK, on the image's grid; the SEG by highdicom, by the places of its frames."""
    label, voxels, geometry = submitted(services, name)
    file = services.project.labels.intact(label)
    ending = ENDINGS.get(name, ".mha")
    assert file.name.endswith(ending)
    seen, place = read(file)
    np.testing.assert_array_equal(seen, voxels)
    _, image = read(Path(services.settings.studies) / f"{name}{ending}")
    tolerance = 1e-9 if ending != ".nii.gz" else 1e-4
    assert place.difference(image, tolerance) is None
    assert sitk.ReadImage(str(file)).GetPixelID() == sitk.sitkUInt8

    seg = highdicom.seg.segread(services.project.labels.seg_of(label))
    case = services.cases.get(name).case
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID) == (case.study_uid, case.frame_of_reference_uid)
    (series,) = seg.ReferencedSeriesSequence
    uids = [one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence]
    assert series.SeriesInstanceUID == case.series_uid
    assert set(uids) == {one.sop_instance_uid for one in services.cases.slices(name)}
    np.testing.assert_array_equal(by_place(seg, geometry), voxels)
    np.testing.assert_array_equal(services.labels.mask(label).labelmap(), voxels)


def by_place(seg: pydicom.Dataset, geometry: Geometry) -> np.ndarray:
    """The labelmap of a BINARY SEG with each frame where its position says."""
    found = np.zeros(geometry.shape, np.uint8)
    inverse = np.linalg.inv(geometry.affine)
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = [*map(float, group.PlanePositionSequence[0].ImagePositionPatient), 1.0]
        at = (inverse @ position)[:3]
        assert np.abs(at - np.rint(at)).max() < 1e-6
        i, j, k = np.rint(at).astype(int)
        assert (i, j) == (0, 0)
        found[k][frame > 0] = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    return found


def test_both_are_delivered_beside_the_images(services: Services) -> None:
    label, voxels, _ = submitted(services, "oblique", seed=1)
    services.outbox_worker.deliver_due()
    place = Path(services.settings.studies) / "labels" / "final" / "oblique"
    np.testing.assert_array_equal(read(place / f"v{label.number:04d}.nrrd")[0], voxels)
    seg = pydicom.dcmread(place / f"v{label.number:04d}.dcm")
    assert seg.SOPInstanceUID == label.sop_instance_uid
    services.sync.run()
    assert [one.path for one in services.cases.not_offered()] == ["tilted.nrrd"]
    client = services.project.archive.dicomweb()
    found = client.search_for_series(services.cases.get("oblique").case.study_uid)
    assert sorted(one["00080060"]["Value"][0] for one in found) == ["CT", "SEG"]


def test_overlapping_structures_are_kept_apart(services: Services) -> None:
    geometry = services.cases.volume("oblique").geometry
    rng = np.random.default_rng(3)
    layers = tuple(((n + 1) * rng.integers(0, 2, SHAPE)).astype(np.uint8) for n in range(2))
    segments = (Segment(1, "liver", 0), Segment(2, "spleen", 1))
    label = services.labels.submit_mask("oblique", Mask(layers, segments, geometry), Submission("Ada", "test"))
    assert label.path.endswith(".nii.gz")
    mask = services.labels.mask(label)
    for number in (1, 2):
        np.testing.assert_array_equal(mask.voxels_of(number), layers[number - 1] > 0)
    assert services.project.labels.seg_of(label) is not None


def test_what_cannot_be_shown_has_a_labelmap_only(services: Services) -> None:
    label, voxels, _ = submitted(services, "tilted")
    assert (label.sop_instance_uid, services.project.labels.seg_of(label)) == ("", None)
    np.testing.assert_array_equal(read(services.project.labels.intact(label))[0], voxels)


def test_a_lost_row_is_made_again_from_the_seg(tmp_path: Path) -> None:
    write_volume(tmp_path / "studies" / "ras.mha", phantom(SHAPE), grids(SHAPE)["ras"])
    services = opened(tmp_path)
    label, voxels, _ = submitted(services, "ras", seed=4)
    paths = Workspace(services.settings.workspace)
    services.project.close()
    assert fsck.check(paths).problems == []
    for file in paths.root.glob("catalog.sqlite*"):
        file.unlink()
    report = fsck.repair(paths, services.project.labels)
    assert report.problems == []
    assert [line for line in report.done if line.startswith(seg_beside(label.path))]
    services = opened(tmp_path)
    again = services.labels.newest("ras", "final")
    same = ("path", "sha256", "sop_instance_uid", "number", "author", "states")
    assert {name: getattr(again, name) for name in same} == {name: getattr(label, name) for name in same}
    np.testing.assert_array_equal(services.labels.mask(again).labelmap(), voxels)
    services.project.close()
