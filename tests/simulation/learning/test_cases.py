"""Labelled cases of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.core.volume import Geometry, Volume
from app.errors import BadInput, BadOption
from app.formats.volume_files import write_nifti
from app.project.project import Project
from app.simulation.learning.cases import Files, Labelled
from tests.learning import phantoms

GRID = Geometry((3, 4, 5), np.eye(4))


def write(folder: Path, name: str, values: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    write_nifti(folder / f"{name}.nii.gz", Volume(values, GRID), compress=True)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two visits of four patients; the second visits have the structures 2 and 7, the first only 2."""
    for patient in range(4):
        for visit in range(2):
            labels = np.zeros(GRID.shape, np.uint8)
            labels[0] = 2
            labels[1] = 7 * visit
            image = np.arange(GRID.voxel_count, dtype=np.int16).reshape(GRID.shape)
            write(tmp_path / "images", f"p{patient}_v{visit}", image + patient)
            write(tmp_path / "labels", f"p{patient}_v{visit}", labels)
    return tmp_path


def test_files_are_split_by_patient(files: Path) -> None:
    split = Files(files / "images", files / "labels", "^(p.)_", 0.25).split(0)
    assert (len(split.pool), len(split.test)) == (6, 2)
    assert len({one.patient for one in split.test}) == 1
    assert not {one.patient for one in split.test} & {one.patient for one in split.pool}
    splits = (Files(files / "images", files / "labels", "^(p.)_", 0.25).split(seed) for seed in range(8))
    tested = {one.patient for other in splits for one in other.test}
    assert len(tested) > 1


def test_every_value_is_a_structure_that_may_be_absent(files: Path) -> None:
    split = Files(files / "images", files / "labels", "", 0.25).split(0)
    assert split.structures == ("2", "7")
    for one in split.pool:
        assert [segment.name for segment in one.mask.segments] == ["2", "7"]
        assert one.mask.voxels_of(1).sum() == 20
        assert one.mask.voxels_of(2).sum() == (20 if one.id.endswith("v1") else 0)


def test_what_files_cannot_be_used_for(files: Path) -> None:
    with pytest.raises(BadInput, match="1 patients"):
        Files(files / "images", files / "labels", "(p)", 0.25).split(0)
    with pytest.raises(BadOption, match="regular expression"):
        Files(files / "images", files / "labels", "p", 0.25).split(0)


def test_the_final_labels_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = phantoms.settings(tmp_path)
    project = phantoms.project(settings, count=4)
    archive = project.archive
    for seed in (0, 1, 3):
        phantoms.submit(project, seed)
    project.close()
    monkeypatch.setattr("app.project.project.open_archive", lambda options: archive)
    assert isinstance(archive, MemoryArchive)
    split = Labelled(settings, 1 / 3).split(0)
    cases = [*split.pool, *split.test]
    assert {one.id for one in cases} == {"case-0", "case-1", "case-3"}
    assert len(split.test) == 1
    for one in cases:
        assert np.array_equal(one.mask.labelmap(), phantoms.voxels(int(one.id[-1]))[1])
        assert one.patient == f"patient-{one.id[-1]}"
    assert Project.open(settings, archive).catalog.labels.counts() == {"final": 3}  # only read
