"""Files of the archive that are left out of its cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.archive import Quarantining, UnusedFile
from app.errors import NotSupported
from app.project.project import Project
from app.services.sync import SyncService


@dataclass(frozen=True)
class QuarantineService:
    """Lists what the archive leaves out, and sets files aside. Thread-safe."""

    project: Project
    sync: SyncService

    def files(self) -> Sequence[UnusedFile]:
        """What is left out, and why; nothing for an archive that keeps no such list."""
        archive = self.project.archive
        return archive.unused() if isinstance(archive, Quarantining) else ()

    def set_aside(self, path: str, who: str) -> None:
        """See `Quarantining.set_aside`; recorded in the audit trail. Raises `NotSupported` for other archives."""
        archive = self.project.archive
        if not isinstance(archive, Quarantining):
            raise NotSupported("files are set aside in a folder only; remove this one in the archive itself")
        archive.set_aside(path)
        catalog = self.project.catalog
        with catalog.database.write() as connection:
            catalog.audit.record(connection, who, "set aside", path, {})
        self.sync.run()
