"""What the server and its job processes open alike: the catalog, the archive, the stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.archives.cache import VolumeCache
from app.archives.label_store import LabelStore
from app.archives.uploads import UploadArchive
from app.catalog import Catalog
from app.core.archive import Archive
from app.errors import ConfigurationError
from app.settings import Settings
from app.workspace import Workspace


@dataclass(frozen=True)
class Project:
    """Everything below the services, opened once per process."""

    settings: Settings
    paths: Workspace
    catalog: Catalog
    archive: Archive
    uploads: UploadArchive
    labels: LabelStore
    caches: Mapping[str, VolumeCache]

    @classmethod
    def open(cls, settings: Settings, archive: Archive | None = None) -> Project:
        """Open a workspace. `archive` replaces the one the settings name (tests, the demo).

        Raises `ConfigurationError`; an archive that doesn't answer is no error here.
        """
        paths = Workspace.open(settings.workspace)
        source = archive if archive is not None else open_archive(settings)
        uploads = UploadArchive(paths.uploads, settings.labels.max_upload_bytes)
        limit = settings.cache.max_bytes
        return cls(
            settings=settings,
            paths=paths,
            catalog=Catalog.open(paths.catalog),
            archive=source,
            uploads=uploads,
            labels=LabelStore(paths.labels, settings.labels.seg_type),
            caches={
                "archive": VolumeCache(source, paths.cache / "archive", limit * 3 // 4),
                "upload": VolumeCache(uploads, paths.cache / "upload", limit // 4),
            },
        )

    def volumes(self, origin: str) -> VolumeCache:
        """The cache over where cases of an origin live."""
        return self.caches[origin]

    def archive_of(self, origin: str) -> Archive:
        return self.uploads if origin == "upload" else self.archive

    def close(self) -> None:
        for cache in self.caches.values():
            cache.drain()
        self.archive.close()
        self.catalog.close()


def open_archive(settings: Settings) -> Archive:
    """The archive that the settings name: a DICOMweb service or a folder. Raises `ConfigurationError`."""
    options = settings.archive
    if settings.studies_url is None:
        from app.archives.folder import FolderArchive, FolderOptions

        folder = Path(settings.studies)
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is no folder; name one with --studies, or a DICOMweb address")
        index = settings.workspace / "folder-index.sqlite"
        return FolderArchive(FolderOptions(folder=folder, labels_dir=options.labels_dir, index=index))
    from app.archives.dicomweb import DicomwebArchive, DicomwebOptions

    password, token = settings.archive_secrets()
    return DicomwebArchive(
        DicomwebOptions(
            url=settings.studies_url,
            user=options.username,
            password=password,
            token=token,
            filter=options.filter,
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            page_size=options.page_size,
            verify=str(options.ca_file) if options.ca_file else True,
            orthanc_url=options.orthanc_url or None,
        )
    )
