"""Masks of other programs become labels with the same voxels and names, or are refused with the reason."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from app.archives.memory import MemoryArchive
from app.core.label import Submission
from app.core.mask import Mask, Segment
from app.core.volume import Geometry
from app.dicom.parsing import parse
from app.dicom.rtstruct import RtstructOptions, write_rtstruct
from app.dicom.rtstruct_read import read_rtstruct
from app.dicom.seg import SegOptions, write_seg
from app.dicom.series import assemble
from app.errors import BadInput
from app.formats.label_files import read_label, write_label_nifti
from app.formats.nrrd_files import write_seg_nrrd
from app.models.device import Device
from app.project.open_models import open_models
from app.project.project import Project
from app.services.cases import CaseService
from app.services.exports import ExportOptions, export_labels
from app.services.imports import Imported, ImportOptions, cases_of, import_labels
from app.services.labels import LabelService
from app.services.models import ModelService
from tests.dicom.masks import assert_same_voxels, random_mask
from tests.dicom.synthetic import ct_series, grid, uid
from tests.services.exports import site


@pytest.fixture
def labels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelService]:
    """Of a project with unlabelled cases."""
    opened = site.project(tmp_path_factory.mktemp("here"))
    yield service(opened)
    opened.close()


def service(opened: Project) -> LabelService:
    device = Device("cpu")
    return LabelService(opened, CaseService(opened), ModelService(opened, open_models(opened, device), device))


def brought(labels: LabelService, source: Path, **options: Any) -> dict[str, Imported]:
    return {one.name: one for one in import_labels(labels, source, ImportOptions(**options))}


def one(labels: LabelService, source: Path, **options: Any) -> Imported:
    (found,) = brought(labels, source, **options).values()
    return found


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, dict[str, Mask]]]:
    """Another server's labels of the same images: whole, partial, and one whose structures overlap."""
    opened = site.project(tmp_path_factory.mktemp("elsewhere"))
    masks = site.label_all(opened)
    for case_id in ("oblique", next(case_id for case_id in masks if case_id.startswith("2.25"))):
        masks[case_id] = site.overlapping(site.geometry_of(opened, case_id))
        site.submit(opened, case_id, masks[case_id])
    yield opened, masks
    opened.close()


@pytest.mark.parametrize("format_name", ["nnunet", "msd", "nifti", "nrrd", "seg", "rtstruct", "bids"])
def test_an_export_comes_back(
    labels: LabelService, elsewhere: tuple[Project, dict[str, Mask]], tmp_path: Path, format_name: str
) -> None:
    """The same voxels, names and states, on oblique, reversed, tilted and anisotropic grids."""
    opened, masks = elsewhere
    report = export_labels(opened, tmp_path / "out", ExportOptions(format_name, modality="MR", bids_suffix="T1w"))
    results = brought(labels, tmp_path / "out", dry_run=True)
    assert {found.result for found in results.values()} == {"imported"}
    assert all(labels.history(case_id) == [] for case_id in masks), "a dry run stores nothing"
    assert len(results) == report.cases > 2
    assert {found.result for found in brought(labels, tmp_path / "out").values()} == {"imported"}
    for case_id, mask in masks.items():
        if case_id in report.left_out:
            assert labels.history(case_id) == []
            continue
        (label,) = labels.history(case_id)
        assert (label.tag, label.author, label.client) == ("original", "ann", "segloop labels import")
        assert label.states == opened.catalog.labels.newest(case_id, "final").states
        stored = labels.mask(label)
        by_name = {segment.name: stored.voxels_of(segment.number) for segment in stored.segments}
        for segment in mask.segments:
            np.testing.assert_array_equal(by_name[segment.name], mask.voxels_of(segment.number))
    again = brought(labels, tmp_path / "out")
    assert {found.result for found in again.values()} == {"known"}
    assert all(len(labels.history(case_id)) <= 1 for case_id in masks)


_GRIDS = st.builds(
    lambda orientation, spacing, signs, origin: Geometry(
        (3, 5, 4), grid((3, 5, 4), orientation, spacing, 0.0, origin).affine @ np.diag([*signs, 1.0])
    ),
    st.sampled_from(["axial", "sagittal", "coronal", "oblique"]),
    st.tuples(*[st.floats(0.2, 6)] * 3),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
)


@settings(max_examples=25)
@given(geometry=_GRIDS, seed=st.integers(0, 2**32 - 1), overlapping=st.booleans())
def test_files_on_any_grid(geometry: Geometry, seed: int, overlapping: bool) -> None:
    """What the exports write is read back on its own grid, voxel by voxel."""
    mask = random_mask(geometry, 3, overlapping=overlapping, seed=seed)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mask.seg.nrrd"
        with file.open("wb") as stream:
            write_seg_nrrd(stream, mask)
        assert_same_voxels(read_label(file, geometry), mask)
        write_label_nifti(mask, Path(folder) / "mask.nii.gz")
        names = [segment.name for segment in mask.segments]
        assert_same_voxels(read_label(Path(folder) / "mask.nii.gz", geometry, names), mask)


@settings(max_examples=8)
@given(
    st.sampled_from(["axial", "sagittal", "coronal", "oblique"]),
    st.tuples(*[st.floats(0.2, 6)] * 3),
    st.floats(-20, 20),
    st.integers(0, 2**32 - 1),
)
def test_structure_sets_on_any_grid(
    orientation: Any, spacing: tuple[float, float, float], tilt: float, seed: int
) -> None:
    source = assemble(ct_series((3, 9, 7), orientation=orientation, spacing=spacing, gantry_tilt=tilt)[0])
    mask = random_mask(source.volume.geometry, 3, overlapping=True, seed=seed)
    stream = io.BytesIO()
    options = RtstructOptions(uid("set"), uid("series"), "a set", "ann", datetime(2026, 1, 2, tzinfo=UTC))
    write_rtstruct(mask, source.headers, stream, options)
    assert_same_voxels(read_rtstruct(parse(stream.getvalue()), source.volume.geometry), mask)


def nifti(path: Path, voxels: np.ndarray, geometry: Geometry) -> Path:
    write_label_nifti(Mask((voxels,), tuple(Segment(n, f"{n}") for n in range(1, 4)), geometry), path)
    return path


def test_names_of_voxel_values(labels: LabelService, tmp_path: Path) -> None:
    geometry = site.GRIDS["oblique"]
    voxels = site.labelmap(0, 2)
    file = nifti(tmp_path / "oblique.nii.gz", voxels, geometry)
    refused = one(labels, file)
    assert refused.result == "refused"
    assert "liver, spleen, left kidney" in refused.detail
    assert "Did you mean spleen" in one(labels, file, names={"1": "liver", "2": "splen"}).detail
    assert "several of its segments" in one(labels, file, names={"1": "liver", "2": "liver"}).detail
    assert labels.history("oblique") == []
    done = one(labels, file, names={"1": "spleen", "2": "liver"}, tag="final", author="Zoë")
    assert done.detail == "final v1: spleen segmented, liver segmented"
    (label,) = labels.history("oblique")
    assert (label.author, label.tag) == ("Zoë", "final")
    stored = labels.mask(label)
    np.testing.assert_array_equal(stored.voxels_of(1), voxels == 1)
    assert [segment.name for segment in stored.segments] == ["spleen", "liver"]


def test_names_in_the_files_are_mapped(labels: LabelService, tmp_path: Path) -> None:
    case = next(row.case for row in labels.cases.all() if row.case.kind == "series")
    row = labels.cases.get(case.id)
    geometry = labels.cases.open(row).geometry
    headers = labels.project.volumes(row.origin).headers(row.case)
    mask = Mask.single(site.labelmap(1, 2), ["Leber", "spleen", "Niere"], geometry)
    write_seg(mask, headers, tmp_path / "any name.dcm", SegOptions(uid("foreign"), uid("series"), author="Bo"))
    assert "Leber" in one(labels, tmp_path).detail
    assert one(labels, tmp_path, names={"Leber": "liver"}).result == "imported"
    (label,) = labels.history(case.id)
    assert label.author == "Bo"
    assert label.states == {"liver": "segmented", "spleen": "segmented"}, "another program's empty segment says nothing"
    assert one(labels, tmp_path, names={"Leber": "liver"}).result == "known"
    labels.delete(case.id, "original", "ann")
    assert one(labels, tmp_path, names={"Leber": "liver"}).result == "imported"


def test_files_are_matched_to_cases(labels: LabelService, tmp_path: Path) -> None:
    voxels = site.labelmap(0, 1)
    for number, name in enumerate(("oblique", "oblique_seg", "subject 7", "sagittal-label")):
        geometry = site.GRIDS["sagittal" if name.startswith("sag") else "oblique"]
        nifti(tmp_path / f"{name}.nii.gz", np.roll(voxels, number, axis=2), geometry)
    found = brought(labels, tmp_path, names={"1": "liver"}, dry_run=True)
    assert {name: one.case_id for name, one in found.items()} == {
        "oblique.nii.gz": "oblique",
        "oblique_seg.nii.gz": "oblique",
        "sagittal-label.nii.gz": "sagittal",
        "subject 7.nii.gz": "",
    }
    assert "no case is called 'subject 7'" in found["subject 7.nii.gz"].detail
    (tmp_path / "cases.csv").write_text("file,case\nsubject 7.nii.gz,oblique\n")
    table = cases_of(tmp_path / "cases.csv")
    found = brought(labels, tmp_path, names={"1": "liver"}, cases=table, pattern=r"^(?P<case>[a-z]+)_seg", dry_run=True)
    assert {name: one.result for name, one in found.items()} == {
        "oblique.nii.gz": "refused",
        "oblique_seg.nii.gz": "imported",
        "sagittal-label.nii.gz": "refused",
        "subject 7.nii.gz": "imported",
    }
    with pytest.raises(BadInput, match="group"):
        brought(labels, tmp_path, pattern="x")
    (tmp_path / "cases.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="file and case"):
        cases_of(tmp_path / "cases.csv")


def test_a_mask_elsewhere_is_refused(labels: LabelService, tmp_path: Path) -> None:
    moved = Geometry(site.SHAPE, site.GRIDS["oblique"].affine + np.array([[0, 0, 0, 1.0]] + [[0] * 4] * 3))
    nifti(tmp_path / "oblique.nii.gz", site.labelmap(0, 1), moved)
    assert "doesn't lie on the image's voxels" in one(labels, tmp_path, names={"1": "liver"}).detail
    nifti(tmp_path / "oblique.nii.gz", site.labelmap(0, 1, (3, 10, 10)), Geometry((3, 10, 10), moved.affine))
    assert "doesn't lie on the image's voxels" in one(labels, tmp_path, names={"1": "liver"}).detail
    (tmp_path / "oblique.nii.gz").write_bytes(b"\x1f\x8bnothing")
    assert one(labels, tmp_path).result == "refused"
    assert labels.history("oblique") == []


def test_metaimage_with_other_axes(labels: LabelService, tmp_path: Path) -> None:
    """Flipped axes are the same voxels: nothing is resampled."""
    geometry, voxels = site.GRIDS["reversed"], site.labelmap(3, 1)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction.ravel().tolist())
    sitk.WriteImage(sitk.Flip(image, (True, False, True)), str(tmp_path / "reversed.mha"))
    assert one(labels, tmp_path, names={"1": "liver"}).result == "imported"
    np.testing.assert_array_equal(labels.mask(labels.history("reversed")[0]).labelmap(), voxels)


def test_what_this_server_stored_is_known(labels: LabelService, tmp_path: Path) -> None:
    case = next(row.case for row in labels.cases.all() if row.case.kind == "series")
    for case_id in (case.id, "oblique"):
        geometry = labels.cases.volume(case_id).geometry
        labels.submit_mask(case_id, site.whole(geometry), Submission("ann", "test"))
    stored = labels.project.labels.path(labels.newest(case.id, "final"))
    (tmp_path / "copy.dcm").write_bytes(stored.read_bytes())
    (tmp_path / "oblique.nii.gz").write_bytes(
        labels.project.labels.path(labels.newest("oblique", "final")).read_bytes()
    )
    found = brought(labels, tmp_path)
    assert {one.result for one in found.values()} == {"known"}
    assert {one.detail for one in found.values()} == {"it is final v1"}


def test_a_structure_set_of_other_slices_is_refused(tmp_path: Path) -> None:
    source = site.project(tmp_path / "a", MemoryArchive([ct_series(site.SHAPE)[0]]))
    (row,) = source.catalog.cases.all()
    site.submit(source, row.case.id, site.whole(site.geometry_of(source, row.case.id)))
    export_labels(source, tmp_path / "out", ExportOptions("rtstruct"))
    (tmp_path / "out/manifest.json").unlink()
    source.close()
    sparse = [one for one in ct_series(site.SHAPE)[0] if one.InstanceNumber % 2]
    other = site.project(tmp_path / "b", MemoryArchive([sparse]))
    refused = one(service(other), tmp_path / "out")
    assert "slices" in refused.detail
    assert refused.result == "refused"
    other.close()


def test_a_source_without_masks(labels: LabelService, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for source in (tmp_path, tmp_path / "notes.txt", tmp_path / "nothing"):
        with pytest.raises(BadInput):
            brought(labels, source)
