"""Synchronising the catalog with the archive."""

from __future__ import annotations

import logging
import threading
import time

from app.errors import SegloopError
from app.project.project import Project

logger = logging.getLogger(__name__)

FIRST_SECONDS = 60.0


class SyncService:
    """Queries the archive for changes and writes them into the catalog, one run at a time. Thread-safe."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._one = threading.Lock()
        self._closed = False
        self._first: threading.Thread | None = None
        self.problem = ""
        """Why the last run failed; "" if it didn't."""
        self.read = 0.0
        """When the archive last answered, in seconds since the epoch; 0 before it first did."""

    @property
    def archive(self) -> str:
        """The archive's name."""
        return self._project.archive.name

    def start(self) -> None:
        """Sync for the first time, in a thread: a slow or unreachable archive must not delay the server's start."""
        self._first = threading.Thread(target=self.run, name="first-sync", daemon=True)
        self._first.start()

    def wait_for_first(self) -> bool:
        """Wait until the first sync has ended, for `FIRST_SECONDS` at most. Returns whether it was still running."""
        first = self._first
        if first is None or not first.is_alive():
            return False
        first.join(FIRST_SECONDS)
        return True

    def run(self) -> None:
        """Sync once. If the archive doesn't answer, `problem` is set and the next run tries again."""
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
                self._project.catalog.outbox.retry_now()  # the archive is reachable again
            self.problem = ""
            self.read = time.time()
            self._project.catalog.cases.apply(listing, key)
            if listing.cases or listing.gone:
                logger.info("archive: %d new or changed cases, %d gone", len(listing.cases), len(listing.gone))

    def close(self) -> None:
        """Wait for a running sync, and start no other."""
        with self._one:
            self._closed = True
