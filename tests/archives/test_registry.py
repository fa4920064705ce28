"""Which archive the setting `studies` opens; one of another installed package too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.archives.registry import ARCHIVE_TYPES, ArchiveOptions, open_archive
from app.errors import ConfigurationError
from app.project.project import archive_options
from app.settings import Settings

SHELF = """
from app.archives.memory import MemoryArchive
from app.archives.registry import ArchiveType

class ShelfArchive(MemoryArchive):
    def __init__(self, options):
        super().__init__()
        self.name = options.studies
        self.password, self.token = options.secrets()

SHELF = ArchiveType("shelf", ShelfArchive)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "shelf_archive.py").write_text(SHELF)
    info = tmp_path / "shelf_archive-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-archive\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[segloop.archives]\nshelf = shelf_archive:SHELF\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(vars(ARCHIVE_TYPES), "_points", raising=False)  # looked for once per process
    yield
    vars(ARCHIVE_TYPES).pop("_points", None)


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    archive = open_archive(ArchiveOptions(str(tmp_path / "studies"), tmp_path))
    assert archive.name == str(tmp_path / "studies")
    assert (tmp_path / "folder-index.sqlite").exists()
    archive.close()


@pytest.mark.parametrize("studies", ["/there/is/none", "shelf://books", "C:/studies"])
def test_no_folder(tmp_path: Path, studies: str) -> None:
    with pytest.raises(ConfigurationError, match="is no folder; name one with --studies, or a DICOMweb address"):
        open_archive(ArchiveOptions(studies, tmp_path))


def test_a_dicomweb_service_with_its_settings() -> None:
    given = {"username": "anna", "password": "hush", "ca_file": "/etc/ca.pem", "read_timeout": 7}
    archive = open_archive(archive_options(Settings(studies="https://pacs/dicom-web/", archive=given)))  # type: ignore[arg-type]
    upstream = archive.dicomweb()
    assert vars(upstream) == {
        "url": "https://pacs/dicom-web",
        "user": "anna",
        "password": "hush",
        "token": "",
        "verify": "/etc/ca.pem",
        "connect_timeout": 10.0,
        "read_timeout": 7.0,
        "total_seconds": 3600.0,
    }
    assert "hush" not in repr(upstream)
    archive.close()


@pytest.mark.usefixtures("installed")
def test_an_archive_of_another_package() -> None:
    assert ARCHIVE_TYPES.names() == ["folder", "http", "https", "shelf"]
    archive = open_archive(archive_options(Settings(studies="shelf://books", archive={"token": "t"})))  # type: ignore[arg-type]
    assert archive.name == "shelf://books"
    assert (archive.password, archive.token) == ("", "t")  # type: ignore[attr-defined]
    assert archive.dicomweb() is None
