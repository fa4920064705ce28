"""The catalog and the label files: what is found when they don't agree, and what is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.catalog import Catalog, backups
from app.core.case import Case
from app.core.label import Label, Submission
from app.core.mask import Mask
from app.errors import ConfigurationError
from app.project import fsck
from app.project.label_commit import commit_label
from app.project.project import Project
from app.services import Services
from app.settings import Settings
from app.workspace import Workspace
from tests.catalog.baseline import execute, rows
from tests.dicom.synthetic import ct_series

SUBMISSIONS = [
    Submission("ann", "Slicer", comment="first"),
    Submission("bob", "OHIF", model="nninteractive", model_version="v1"),
    Submission("model", "segloop", tag="original"),
]


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Settings, Case, list[Label]]:
    """Three versions of labels of one series."""
    archive = MemoryArchive()
    case = archive.add_series(ct_series((3, 8, 8))[0])
    settings = Settings(workspace=tmp_path, models={})
    project = Project.open(settings, archive)
    project.catalog.cases.apply(archive.list(None), "cursor")
    row = project.catalog.cases.get(case.id)
    geometry = archive.fetch(case, lambda done, text="": None).volume.geometry
    labels = []
    for number, submission in enumerate(SUBMISSIONS, start=1):
        labelmap = np.zeros(geometry.shape, np.uint8)
        labelmap[1, number] = 1
        mask = Mask.single(labelmap, ["liver", "lesion"], geometry)
        labels.append(commit_label(project, row, mask, submission, f"sent {number}"))
    project.close()
    return settings, case, labels


def known(root: Path) -> list[Label]:
    catalog = Catalog.open(root / "catalog.sqlite")
    try:
        return catalog.labels.all_versions()
    finally:
        catalog.close()


def repaired(settings: Settings) -> fsck.Report:
    project = Workspace(settings.workspace)
    from app.archives.label_store import LabelStore

    return fsck.repair(project, LabelStore(project.labels, settings.labels.seg_type))


def said(label: Label) -> tuple[object, ...]:
    """Everything that the file says of a version; what the client sent isn't kept there, and the time only nearly."""
    fields = ("case_id", "tag", "number", "path", "sha256", "sop_instance_uid", "author", "client", "model")
    segments = [(segment.name, segment.number) for segment in label.segments]
    return (*(getattr(label, name) for name in (*fields, "model_version", "comment")), dict(label.states), segments)


def test_nothing_to_find(labelled: tuple[Settings, Case, list[Label]]) -> None:
    settings, _, labels = labelled
    assert fsck.check(Workspace(settings.workspace)) == fsck.Report()
    assert repaired(settings) == fsck.Report()
    assert known(settings.workspace) == labels


def test_lost_and_damaged_files_are_named(labelled: tuple[Settings, Case, list[Label]]) -> None:
    settings, _, (first, second, _) = labelled
    paths = Workspace(settings.workspace)
    (paths.labels / first.path).unlink()
    damaged = paths.labels / second.path
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    (damaged.parent / ".writing-1234.dcm").write_bytes(b"half")
    found = "\n".join(fsck.check(paths).problems)
    for line in (f"{first.path} is lost: final v1", f"{second.path} is damaged: final v2", ".writing-1234.dcm is of"):
        assert line in found
    done = repaired(settings)
    assert [line for line in done.done if "removed" in line]
    assert len(done.problems) == 2, "what is lost stays lost"


@pytest.mark.parametrize("how", ["missing", "emptied", "garbage", "rows"])
def test_rows_are_made_from_what_the_files_say(labelled: tuple[Settings, Case, list[Label]], how: str) -> None:
    settings, case, labels = labelled
    file = settings.workspace / "catalog.sqlite"
    if how == "rows":
        execute(file, "DELETE FROM outbox WHERE label_id = 2")
        execute(file, "DELETE FROM label WHERE id = 2")
    else:
        backups.set_aside(file)
        if how != "missing":
            file.write_bytes(b"" if how == "emptied" else b"no database at all" * 100)
    before = fsck.check(Workspace(settings.workspace))
    assert before.problems
    report = repaired(settings)
    assert report.problems == []
    assert sorted(map(said, known(settings.workspace))) == sorted(map(said, labels))
    assert fsck.check(Workspace(settings.workspace)).problems == []
    waiting = {row["label_id"] for row in rows(file)["outbox"]}
    assert waiting == {label.id for label in known(settings.workspace) if label.tag == "final"}
    (row,) = rows(file)["case_"]
    assert (row["id"], row["series_uid"], row["study_uid"]) == (case.id, case.series_uid, case.study_uid)
    assert (row["patient_id"], row["completed"]) == (case.patient_id, 1)


def test_the_archive_completes_a_case_that_was_made_from_a_label(labelled: tuple[Settings, Case, list[Label]]) -> None:
    settings, case, labels = labelled
    (settings.workspace / "catalog.sqlite").unlink()
    repaired(settings)
    catalog = Catalog.open(settings.workspace / "catalog.sqlite")
    archive = MemoryArchive()
    archive.add_series(ct_series((3, 8, 8))[0])
    catalog.cases.apply(archive.list(None), "cursor")
    row = catalog.cases.get(case.id)
    assert (row.case.modality, row.case.instances, row.completed) == ("CT", 3, True)
    assert len(catalog.labels.history(case.id)) == len(labels)
    catalog.close()


def test_two_files_of_one_version(labelled: tuple[Settings, Case, list[Label]]) -> None:
    """One is of a submission that was killed before its answer, and took the number that another got."""
    settings, _, labels = labelled
    other = labels[0].path.replace("v0001-", "v0001-0000")
    (settings.workspace / "labels" / other).write_bytes((settings.workspace / "labels" / labels[0].path).read_bytes())
    (problem,) = repaired(settings).problems
    assert problem == f"{other} is in no row of the catalog: another file is version 1 of this label"
    assert known(settings.workspace) == labels


def test_a_catalog_of_a_newer_segloop_is_left_alone(labelled: tuple[Settings, Case, list[Label]]) -> None:
    settings, _, _ = labelled
    execute(settings.workspace / "catalog.sqlite", "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="newer segloop"):
        repaired(settings)
    assert rows(settings.workspace / "catalog.sqlite")["label"]


@pytest.mark.parametrize("how", ["missing", "no rows"])
def test_an_empty_catalog_beside_labels_is_no_start(labelled: tuple[Settings, Case, list[Label]], how: str) -> None:
    settings, _, _ = labelled
    file = settings.workspace / "catalog.sqlite"
    if how == "missing":
        file.unlink()
    else:
        for table in ("outbox", "label", "case_"):
            execute(file, f"DELETE FROM {table}")
    with pytest.raises(ConfigurationError, match=r"labels holds 3 label files.*segloop fsck --repair --workspace"):
        Services.open(settings, MemoryArchive())


def test_the_file_of_a_killed_first_submission_is_no_reason(labelled: tuple[Settings, Case, list[Label]]) -> None:
    settings, _, _ = labelled
    for table in ("outbox", "label"):
        execute(settings.workspace / "catalog.sqlite", f"DELETE FROM {table}")
    Services.open(settings, MemoryArchive()).project.close()


def test_the_command(labelled: tuple[Settings, Case, list[Label]]) -> None:
    settings, _, labels = labelled
    (settings.workspace / "catalog.sqlite").unlink()

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "app.cli", "fsck", *arguments, "--workspace", str(settings.workspace)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert ended.stderr == ""
        return ended.returncode, ended.stdout

    code, shown = run()
    assert (code, "but the catalog" in shown) == (1, True)
    code, shown = run("--repair")
    assert code == 0
    assert all(f"repaired  {label.path} is {label.tag} v{label.number}" in shown for label in labels)
    assert run() == (0, "the catalog and the label files agree\n")
