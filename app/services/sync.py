"""Learning what is new in the archive."""

from __future__ import annotations

import logging
import threading
import time

from app.errors import SegloopError
from app.project.project import Project

logger = logging.getLogger(__name__)


class SyncService:
    """Asks the archive what changed and writes it into the catalog. One at a time."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._one = threading.Lock()
        self._closed = False
        self.problem = ""
        """Why the last try failed; "" if it didn't."""
        self.read = 0.0
        """When the archive last answered, in seconds since the epoch; 0 before it first did."""

    @property
    def archive(self) -> str:
        """What kind of archive it is."""
        return self._project.archive.name

    def run(self) -> None:
        """Ask once. An archive that doesn't answer is noted and asked again later; nothing here is lost by it."""
        with self._one:
            if self._closed:
                return
            key = f"sync.cursor:{self._project.settings.studies}"
            try:
                listing = self._project.archive.list(self._project.catalog.cases.cursor(key))
            except SegloopError as error:
                self.problem = str(error)
                logger.warning("the archive can't be read now: %s", error)
                return
            if self.problem:
                self._project.catalog.outbox.retry_now()  # it was away and is back
            self.problem = ""
            self.read = time.time()
            self._project.catalog.cases.apply(listing, key)
            if listing.cases or listing.gone:
                logger.info("archive: %d new or changed cases, %d gone", len(listing.cases), len(listing.gone))

    def close(self) -> None:
        """Wait for a try that runs, and make no other."""
        with self._one:
            self._closed = True
