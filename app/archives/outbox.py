"""Carries labels that are safe here to the archive, for as long as it takes, or until the archive will not have one.

What may get better by waiting is tried again for ever: an archive that is away, busy, out of room, or at odds with our
password, and every answer that doesn't say what is wrong with the label. What can't (`LASTING`) is not: the label stays
here, its row says why and what to do, and it is tried again when a person asks for that.
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

LONGEST_WAIT = 900.0
"""Seconds between two tries at most."""

LASTING: Mapping[type[SegloopError], str] = {
    ArchiveRefuses: "Let the archive take it (its settings and its log say more), then ask for another try.",
    Conflict: "Look at what the archive has there. Move that away if it is wrong, then ask for another try.",
    IntegrityError: "Bring the label's file back from a backup of the workspace, then ask for another try.",
    NotSupported: "If this isn't the archive that the label is for, set the right one, then ask for another try.",
    BadInput: "Its file can be fetched here and brought into the archive by hand.",
}
"""Errors that waiting doesn't mend, and what a person can do. The nearest class in an error's ancestry counts."""


@dataclass(frozen=True)
class OutboxWorker:
    """Delivers what is due. `archive_of(origin)` says where cases of an origin live."""

    catalog: Catalog
    labels: LabelStore
    archive_of: Callable[[str], Archive]

    def deliver_due(self) -> int:
        """Try everything that is due once; returns how many the archive has confirmed."""
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
            # A fault of ours, or of a library, at one label must not keep those behind it from going.
            logger.exception("label %d can't be delivered", label_id)
            self._failed(label_id, attempts, error)
            return False
        self.catalog.outbox.delivered(label_id, location)
        logger.info("label %d is in the archive", label_id)
        return True

    def _store(self, label_id: int) -> str:
        """Where the archive keeps the label now."""
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
        advice = next((LASTING[cls] for cls in type(error).__mro__ if cls in LASTING), None)
        if advice is not None:
            self.catalog.outbox.refused(label_id, str(error), advice)
            logger.error("label %d stays here until someone asks for another try: %s", label_id, error)
            return
        # A wait that has reached the longest stays there: 2.0**attempts ends in an error after a thousand tries.
        wait = min(LONGEST_WAIT, 2.0 ** min(attempts, 10)) * random.uniform(0.8, 1.2)
        if isinstance(error, Unavailable):
            wait = max(wait, min(LONGEST_WAIT, error.retry_after))
        told = str(error) if isinstance(error, (SegloopError, OSError)) else f"{type(error).__name__}: {error}"
        self.catalog.outbox.failed(label_id, told, time.time() + wait)
        logger.warning("label %d isn't delivered yet, next try in %.0f s: %s", label_id, wait, error)
