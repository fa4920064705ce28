"""`segloop backup` and `restore`: whole, or an error that names the damage."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.cli.backup import create_backup, restore_workspace, verify
from app.core.label import Submission
from app.core.mask import Mask
from app.errors import ConfigurationError, IntegrityError
from app.services import Services
from app.settings import Settings
from tests.dicom.synthetic import ct_series


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with three versions of one label."""
    datasets, truth = ct_series()
    archive = MemoryArchive([datasets])
    services = Services.open(_settings(tmp_path / "workspace"), archive)
    services.sync.run()
    case_id = services.cases.all()[0].case.id
    for value in (1, 2, 3):
        voxels = np.zeros(truth.geometry.shape, np.uint8)
        voxels[value] = 1
        mask = Mask.single(voxels, ["liver"], truth.geometry)
        services.labels.submit_mask(case_id, mask, Submission("anna", "test"))
    services.stop()
    return tmp_path / "workspace"


def _settings(workspace: Path) -> Settings:
    return Settings.model_validate(
        {"workspace": workspace, "models": {"fake": {"type": "fake"}}, "labels": {"structures": ["liver"]}}
    )


def test_restored_workspace_has_every_version(workspace: Path, tmp_path: Path) -> None:
    create_backup(tmp_path / "backup", workspace)
    restore_workspace(tmp_path / "backup", tmp_path / "again")
    datasets, truth = ct_series()
    services = Services.open(_settings(tmp_path / "again"), MemoryArchive([datasets]))
    case_id = services.cases.all()[0].case.id
    history = services.labels.history(case_id)
    assert [label.number for label in history] == [1, 2, 3]
    for label in history:
        voxels = services.labels.mask(label).labelmap()
        assert np.flatnonzero(voxels.any(axis=(1, 2))).tolist() == [label.number]
    services.stop()
    assert truth.geometry.shape == voxels.shape


def test_damaged_backup_is_named_and_nothing_is_written(workspace: Path, tmp_path: Path) -> None:
    create_backup(tmp_path / "backup", workspace)
    file = next((tmp_path / "backup" / "labels").rglob("*.dcm"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        restore_workspace(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "again" / "catalog.sqlite").exists()


def test_nothing_is_overwritten(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    with pytest.raises(ConfigurationError, match="exists"):
        create_backup(tmp_path / "backup", workspace)
    create_backup(tmp_path / "other", workspace)
    with pytest.raises(ConfigurationError, match="already"):
        restore_workspace(tmp_path / "other", workspace)


def test_rows_in_the_write_ahead_log_are_restored_too(workspace: Path, tmp_path: Path) -> None:
    """A folder copied from a workspace whose server was killed."""
    catalog = sqlite3.connect(workspace / "catalog.sqlite")
    catalog.execute("PRAGMA wal_autocheckpoint=0")
    catalog.execute("UPDATE label SET comment = 'in the log'")
    catalog.commit()
    shutil.copytree(workspace, tmp_path / "copied")
    catalog.close()
    assert (tmp_path / "copied" / "catalog.sqlite-wal").stat().st_size > 0
    assert verify(tmp_path / "copied") == 3
    restore_workspace(tmp_path / "copied", tmp_path / "again")
    with closing(sqlite3.connect(tmp_path / "again" / "catalog.sqlite")) as restored:
        assert restored.execute("SELECT DISTINCT comment FROM label").fetchall() == [("in the log",)]
