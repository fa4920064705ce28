"""Carries labels that are safe here to the archive, for as long as it takes."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.archives.label_store import LabelStore
from app.catalog import Catalog
from app.core.archive import Archive, Delivery
from app.errors import SegloopError, Unavailable

logger = logging.getLogger(__name__)

LONGEST_WAIT = 900.0
"""Seconds between two tries at most."""


@dataclass(frozen=True)
class Postman:
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
            receipt = self.archive_of(row.origin).store(delivery)
        except (SegloopError, OSError) as error:
            wait = min(LONGEST_WAIT, 2.0**attempts) * random.uniform(0.8, 1.2)
            if isinstance(error, Unavailable):
                wait = max(wait, min(LONGEST_WAIT, error.retry_after))
            self.catalog.outbox.failed(label_id, str(error), time.time() + wait)
            logger.warning("label %d isn't delivered yet, next try in %.0f s: %s", label_id, wait, error)
            return False
        self.catalog.outbox.delivered(label_id, receipt.location)
        logger.info("label %d is in the archive", label_id)
        return True
