"""Delivers stored labels to the archive.

Temporary failures are retried with backoff, without limit: the archive is unreachable, busy, full or refuses our
credentials, or its answer doesn't say what is wrong with the label. Permanent ones (`PERMANENT`) are not: the label
stays stored here, its outbox row says why and what to do, and it is retried when a user asks for that.

Labels are delivered in several threads, so that one whose exchange with the archive takes long doesn't block others.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from app.archives.label_store import LabelStore
from app.catalog import Catalog
from app.core.archive import Archive, Delivery
from app.errors import (
    RETRY_AFTER,
    ArchiveRefuses,
    ArchiveUnavailable,
    BadInput,
    Conflict,
    IntegrityError,
    NotSupported,
    SegloopError,
    Unavailable,
)

logger = logging.getLogger(__name__)

MAX_BACKOFF = 900.0
"""The longest delay between two attempts, in seconds."""

PROBE_SECONDS = 20.0
"""While the archive doesn't answer, one label is sent so often; once one arrives, all that waited for it are."""

WORKERS = 8

_LEAVE_SECONDS = 10.0

PERMANENT: Mapping[type[SegloopError], str] = {
    ArchiveRefuses: "Configure the archive to accept it (its log may say why it doesn't), then retry.",
    Conflict: "Check the object that the archive has instead. If that is wrong, remove it, then retry.",
    IntegrityError: "Restore the label's file from a backup of the workspace, then retry.",
    NotSupported: "If this isn't the label's archive, configure the right one, then retry.",
    BadInput: "Download its file from here and import it into the archive by hand.",
}
"""Errors that retrying doesn't fix, and what a user can do. The most specific base class of an error counts."""


class OutboxWorker:
    """Delivers what is due. `archive_of(origin)` is the archive of cases of an origin. Thread-safe."""

    def __init__(self, catalog: Catalog, labels: LabelStore, archive_of: Callable[[str], Archive]) -> None:
        self._catalog, self._labels, self._archive_of = catalog, labels, archive_of
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="delivery")
        self._lock = threading.Lock()
        # Guarded by the lock.
        self._running: dict[int, Future[bool]] = {}
        self._unanswered: set[int] = set()
        self._probed = time.monotonic()
        self._closed = False

    def start_due(self) -> list[Future[bool]]:
        """Begin an attempt for every label that is due and isn't being sent; futures say which were confirmed."""
        self._probe()
        started = []
        for label_id, attempts in self._catalog.outbox.due(time.time()):
            with self._lock:
                if self._closed:
                    break
                if label_id not in self._running:
                    self._running[label_id] = self._threads.submit(self._deliver, label_id, attempts)
                    started.append(self._running[label_id])
        return started

    def deliver_due(self) -> int:
        """Attempt every due delivery once; returns how many the archive confirmed."""
        return sum(future.result() for future in self.start_due())

    def close(self) -> None:
        """Start no other delivery, and wait a little for those that run: let the archive hang up first."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        self._threads.shutdown(wait=False, cancel_futures=True)
        wait(running, _LEAVE_SECONDS)

    def _probe(self) -> None:
        """Make one of the labels due for which the archive didn't answer."""
        with self._lock:
            waited = time.monotonic() - self._probed
            candidates = sorted(self._unanswered - set(self._running))
            if not candidates or waited < PROBE_SECONDS:
                return
            self._probed = time.monotonic()
        # Any of them: it may be one label that the archive chokes on.
        self._catalog.outbox.hurry({random.choice(candidates)})

    def _deliver(self, label_id: int, attempts: int) -> bool:
        try:
            return self._attempt(label_id, attempts)
        except Exception:  # the catalog can't be written; the label stays due
            logger.exception("what became of label %d can't be recorded", label_id)
            return False
        finally:
            with self._lock:
                self._running.pop(label_id, None)

    def _attempt(self, label_id: int, attempts: int) -> bool:
        try:
            location = self._store(label_id)
        except Exception as error:
            # An unexpected error with one label must not block those behind it in the queue.
            if not isinstance(error, (SegloopError, OSError)):
                logger.exception("label %d can't be delivered", label_id)
            self._failed(label_id, attempts, error)
            return False
        self._catalog.outbox.delivered(label_id, location)
        logger.info("label %d was delivered to the archive", label_id)
        with self._lock:
            held, self._unanswered = self._unanswered - {label_id}, set()
        if held:
            self._catalog.outbox.hurry(held)  # the archive answers again
        return True

    def _store(self, label_id: int) -> str:
        """Store the label in the archive; returns its location there."""
        label = self._catalog.labels.by_id(label_id)
        row = self._catalog.cases.get(label.case_id)
        delivery = Delivery(
            case=row.case,
            file=self._labels.path(label),
            tag=label.tag,
            number=label.number,
            sha256=label.sha256,
            sop_instance_uid=label.sop_instance_uid,
            seg=self._labels.seg_of(label),
        )
        return self._archive_of(row.origin).store(delivery).location

    def _failed(self, label_id: int, attempts: int, error: Exception) -> None:
        # An error with a time of its own is about the label or the credentials, or the archive asks for that time.
        unanswered = isinstance(error, ArchiveUnavailable) and error.retry_after <= RETRY_AFTER
        with self._lock:
            (self._unanswered.add if unanswered else self._unanswered.discard)(label_id)
        advice = next((PERMANENT[cls] for cls in type(error).__mro__ if cls in PERMANENT), None)
        if advice is not None:
            self._catalog.outbox.refused(label_id, str(error), advice)
            logger.error("label %d can't be delivered until somebody retries it: %s", label_id, error)
            return
        # The exponent is limited: 2.0**attempts would overflow after about a thousand attempts.
        delay = min(MAX_BACKOFF, 2.0 ** min(attempts, 10)) * random.uniform(0.8, 1.2)
        if isinstance(error, Unavailable):
            delay = max(delay, min(MAX_BACKOFF, error.retry_after))
        if isinstance(error, OSError):
            message = error.strerror or (str(error) if error.filename is None else type(error).__name__)  # no path
        else:
            message = str(error) if isinstance(error, SegloopError) else f"{type(error).__name__}: {error}"
        self._catalog.outbox.failed(label_id, message, time.time() + delay)
        logger.warning("label %d wasn't delivered, next attempt in %.0f s: %s", label_id, delay, error)
