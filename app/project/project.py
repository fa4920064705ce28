"""The project: the catalog, archive and stores that both the server and its job processes open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.archives.cache import VolumeCache
from app.archives.label_store import LabelStore
from app.archives.registry import ArchiveOptions, open_archive
from app.archives.uploads import UploadArchive
from app.catalog import Catalog
from app.core.archive import Archive
from app.project.label_states import read_missing_states
from app.project.preannotations import PreAnnotations
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
    preannotations: PreAnnotations

    @classmethod
    def open(cls, settings: Settings, archive: Archive | None = None) -> Project:
        """Open a workspace. `archive` replaces that of the settings, for tests.

        Raises `ConfigurationError`. An archive that is unreachable isn't an error here.
        """
        paths = Workspace.open(settings.workspace)
        source = archive if archive is not None else open_archive(archive_options(settings))
        uploads = UploadArchive(paths.uploads, settings.labels.max_upload_bytes)
        limit = settings.cache.max_bytes
        catalog = Catalog.open(paths.catalog)
        labels = LabelStore(paths.labels, settings.labels.seg_type)
        read_missing_states(catalog, labels)
        return cls(
            settings=settings,
            paths=paths,
            catalog=catalog,
            archive=source,
            uploads=uploads,
            labels=labels,
            caches={
                "archive": VolumeCache(source, paths.cache / "archive", limit * 3 // 4),
                "upload": VolumeCache(uploads, paths.cache / "upload", limit // 4),
            },
            preannotations=PreAnnotations(paths.cache / "preannotations"),
        )

    def volumes(self, origin: str) -> VolumeCache:
        """The volume cache for cases of an origin."""
        return self.caches[origin]

    def archive_of(self, origin: str) -> Archive:
        return self.uploads if origin == "upload" else self.archive

    def close(self) -> None:
        for cache in self.caches.values():
            cache.drain()
        self.archive.close()
        self.catalog.close()


def archive_options(settings: Settings) -> ArchiveOptions:
    """What the settings say about the archive."""
    archive = settings.archive
    return ArchiveOptions(
        studies=settings.studies,
        workspace=settings.workspace,
        filter=archive.filter,
        username=archive.username,
        secrets=settings.archive_secrets,
        ca_file=archive.ca_file,
        connect_timeout=archive.connect_timeout,
        read_timeout=archive.read_timeout,
        answer_seconds=archive.answer_seconds,
        max_answer_bytes=archive.max_answer_bytes,
        fetch_seconds=archive.fetch_seconds,
        page_size=archive.page_size,
        orthanc_url=archive.orthanc_url,
        labels_dir=archive.labels_dir,
        masks=tuple(archive.masks),
        volume_modality=archive.volume_modality,
    )
