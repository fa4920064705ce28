"""Delivers stored labels to the archive.

Temporary failures are retried with backoff, without limit: the archive is unreachable, busy, full or refuses our
credentials, or its answer doesn't say what is wrong with the label. Permanent ones (`PERMANENT`) are not: the label
stays stored here, its outbox row says why and what to do, and it is retried when a user asks for that.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.archives.label_store import LabelStore
from app.catalog import Catalog
from app.core.archive import Archive, Delivery
from app.errors import ArchiveRefuses, BadInput, Conflict, IntegrityError, NotSupported, SegloopError, Unavailable

logger = logging.getLogger(__name__)

MAX_BACKOFF = 900.0
"""The longest delay between two attempts, in seconds."""

PERMANENT: Mapping[type[SegloopError], str] = {
    ArchiveRefuses: "Configure the archive to accept it (its log may say why it doesn't), then retry.",
    Conflict: "Check the object that the archive has instead. If that is wrong, remove it, then retry.",
    IntegrityError: "Restore the label's file from a backup of the workspace, then retry.",
    NotSupported: "If this isn't the label's archive, configure the right one, then retry.",
    BadInput: "Download its file from here and import it into the archive by hand.",
}
"""Errors that retrying doesn't fix, and what a user can do. The most specific base class of an error counts."""


@dataclass(frozen=True)
class OutboxWorker:
    """Delivers what is due. `archive_of(origin)` is the archive of cases of an origin."""

    catalog: Catalog
    labels: LabelStore
    archive_of: Callable[[str], Archive]

    def deliver_due(self) -> int:
        """Attempt every due delivery once; returns how many the archive confirmed."""
        confirmed = 0
        for label_id, attempts in self.catalog.outbox.due(time.time()):
            confirmed += self._deliver(label_id, attempts)
        return confirmed

    def _deliver(self, label_id: int, attempts: int) -> bool:
        try:
            location = self._store(label_id)
        except (SegloopError, OSError) as error:
            self._failed(label_id, attempts, error)
            return False
        except Exception as error:
            # An unexpected error with one label must not block those behind it in the queue.
            logger.exception("label %d can't be delivered", label_id)
            self._failed(label_id, attempts, error)
            return False
        self.catalog.outbox.delivered(label_id, location)
        logger.info("label %d was delivered to the archive", label_id)
        return True

    def _store(self, label_id: int) -> str:
        """Store the label in the archive; returns its location there."""
        label = self.catalog.labels.by_id(label_id)
        row = self.catalog.cases.get(label.case_id)
        delivery = Delivery(
            case=row.case,
            file=self.labels.path(label),
            tag=label.tag,
            number=label.number,
            sha256=label.sha256,
            sop_instance_uid=label.sop_instance_uid,
        )
        return self.archive_of(row.origin).store(delivery).location

    def _failed(self, label_id: int, attempts: int, error: Exception) -> None:
        advice = next((PERMANENT[cls] for cls in type(error).__mro__ if cls in PERMANENT), None)
        if advice is not None:
            self.catalog.outbox.refused(label_id, str(error), advice)
            logger.error("label %d can't be delivered until somebody retries it: %s", label_id, error)
            return
        # The exponent is limited: 2.0**attempts would overflow after about a thousand attempts.
        wait = min(MAX_BACKOFF, 2.0 ** min(attempts, 10)) * random.uniform(0.8, 1.2)
        if isinstance(error, Unavailable):
            wait = max(wait, min(MAX_BACKOFF, error.retry_after))
        message = str(error) if isinstance(error, (SegloopError, OSError)) else f"{type(error).__name__}: {error}"
        self.catalog.outbox.failed(label_id, message, time.time() + wait)
        logger.warning("label %d wasn't delivered, next attempt in %.0f s: %s", label_id, wait, error)
