"""`segloop labels`, as a program of its own, over a folder of volume files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.archives.memory import MemoryArchive
from app.cli import cli
from app.core.label import Submission
from app.core.mask import Mask
from app.core.volume import Geometry, Volume
from app.errors import SegloopError
from app.formats.label_files import write_label_nifti
from app.formats.volume_files import write_nifti
from app.project.label_commit import commit_label
from app.project.project import Project
from app.settings import Settings
from tests.dicom import itk
from tests.live import FAKE, serving

GEOMETRY = Geometry((4, 8, 8), np.diag([1.0, 1.0, 2.0, 1.0]))


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Of a project with two labelled volume files; what the command line needs to open it."""
    (tmp_path / "images").mkdir()
    for name in ("one", "two"):
        write_nifti(tmp_path / f"images/{name}.nii.gz", Volume(np.ones((4, 8, 8), np.int16), GEOMETRY), compress=True)
    config = {
        "studies": str(tmp_path / "images"),
        "workspace": str(tmp_path / "w"),
        "labels": {"structures": ["liver"]},
    }
    (tmp_path / "segloop.yaml").write_text(json.dumps(config))
    project = Project.open(Settings.model_validate(config))
    project.catalog.cases.apply(project.archive.list(None), "cursor")
    for row in project.catalog.cases.all():
        mask = Mask.single(np.eye(8, dtype=np.uint8)[None].repeat(4, 0), ["liver"], GEOMETRY)
        commit_label(project, row, mask, Submission("ann", "test"), mask.sha256)
    project.close()
    return ["--config", str(tmp_path / "segloop.yaml")]


def segloop(*arguments: object) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGLOOP_")}
    command = [sys.executable, "-m", "app.cli", "labels", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=clean)


def test_export(tmp_path: Path, options: list[str]) -> None:
    out = tmp_path / "out"
    ended = segloop("export", out, "--format", "nnunet", *options)
    assert ended.returncode == 0, ended.stderr
    assert "2 cases" in ended.stdout
    assert json.loads((out / "dataset.json").read_text())["channel_names"] == {"0": "MR"}, "told by its intensities"
    voxels, _ = itk.read(out / "labelsTr/one.nii.gz")
    np.testing.assert_array_equal(voxels, np.eye(8)[None].repeat(4, 0))
    ended = segloop("export", out, "--format", "nnunet", "--modality", "CT", *options)
    assert "note" not in ended.stdout
    assert json.loads((out / "dataset.json").read_text())["channel_names"] == {"0": "CT"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "jpeg"], "there are nnunet"),
        (["--format", "nifti", "--overlaps", "maybe"], "refuse or order"),
        (["--format", "nifti", "--tag", "original"], "no case has a label tagged 'original'"),
        (["--format", "nifti", "--structures", "livr"], "there are: liver"),
        (["--format", "nifti", "--workspace", "/nowhere/at/all"], "is not a workspace"),
    ],
)
def test_what_it_refuses(tmp_path: Path, options: list[str], arguments: list[str], told: str) -> None:
    ended = CliRunner().invoke(cli, ["labels", "export", str(tmp_path / "out"), *options, *arguments])
    assert isinstance(ended.exception, SegloopError)
    assert told in str(ended.exception)


def test_from_a_server(tmp_path: Path) -> None:
    archive = MemoryArchive(volumes={"one": Volume(np.ones((4, 8, 8), np.int16), GEOMETRY)})
    with serving(tmp_path / "w", FAKE, archive, labels={"structures": ["liver"]}, token="open sesame") as live:
        live.services.sync.run()
        voxels = np.eye(8, dtype=np.uint8)[None].repeat(4, 0)
        for number, value in enumerate((1, 0), start=1):
            voxels[0, 0, 7] = value
            mask = Mask.single(voxels.copy(), ["liver"], GEOMETRY)
            live.services.labels.submit_mask("one", mask, Submission("ann", "test"))
            ended = segloop(
                "export", tmp_path / "out", "--format", "nifti", "--server", live.url, "--token", "open sesame"
            )
            assert ended.returncode == 0, ended.stderr
            assert f"1 case in {tmp_path / 'out'}: {(3, 2)[number - 1]} files written" in ended.stdout
            np.testing.assert_array_equal(itk.read(tmp_path / "out/labels/one.nii.gz")[0], voxels)
        ended = segloop("export", tmp_path / "out", "--format", "nifti", "--server", live.url)
        assert "asks for a token" in ended.stderr


def test_import(tmp_path: Path, options: list[str]) -> None:
    assert segloop("export", tmp_path / "out", "--format", "nifti", *options).returncode == 0
    source = tmp_path / "out/labels"  # without the manifest, so nothing says what 1 is
    edited = Mask.single(np.ones((4, 8, 8), np.uint8), ["liver"], GEOMETRY)
    write_label_nifti(edited, source / "one.nii.gz")
    (source / "three.nii.gz").write_bytes((source / "one.nii.gz").read_bytes())
    ended = segloop("import", source, "--name", "1=liver", "--dry-run", *options)
    assert ended.returncode == 1
    assert "imported  one.nii.gz -> one: liver segmented" in ended.stdout
    assert "known     two.nii.gz -> two: it is final v1" in ended.stdout, "the bytes that are stored"
    assert "refused   three.nii.gz: no case is called 'three'" in ended.stdout
    assert "1 would be imported, 1 known already, 1 refused" in ended.stdout
    (source / "three.nii.gz").unlink()
    ended = segloop("import", source, "--name", "1=liver", "--tag", "final", "--author", "bo", *options)
    assert ended.returncode == 0, ended.stderr
    assert "one.nii.gz -> one: final v2: liver segmented" in ended.stdout
    assert "0 imported, 2 known already" in segloop("import", source, "--name", "1=liver", *options).stdout
    assert segloop("export", tmp_path / "again", "--format", "nifti", *options).returncode == 0
    assert itk.read(tmp_path / "again/labels/one.nii.gz")[0].all()
    ended = segloop("import", source, "--name", "liver", *options)
    assert "such as 1=liver" in " ".join(ended.stderr.split())


def test_cases_that_are_left_out(tmp_path: Path, options: list[str]) -> None:
    ended = CliRunner().invoke(cli, ["labels", "export", str(tmp_path / "out"), "--format", "seg", *options])
    assert ended.exit_code == 1
    assert "left out  one: it is a volume file" in ended.stdout
