"""Delivery of labels to the archive: what waits, what was refused, and retries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.core.label import DeliveryState, OutboxState, PendingDelivery
from app.project.project import Project


@dataclass(frozen=True)
class Undelivered:
    """`state` holds the counts. `waiting` are the oldest labels that the archive hasn't confirmed yet, `refused` the
    oldest that it rejected: these are sent again only on request."""

    state: OutboxState
    waiting: list[PendingDelivery]
    refused: list[PendingDelivery]


@dataclass(frozen=True)
class DeliveryService:
    """Shows the outbox and retries deliveries. Thread-safe."""

    project: Project

    def outbox(self, limit: int = 50) -> Undelivered:
        """The outbox's state, with at most `limit` labels of each kind."""
        outbox = self.project.catalog.outbox
        return Undelivered(outbox.state(), outbox.waiting(limit), outbox.refusals(limit))

    def oldest(self, limit: int) -> list[PendingDelivery]:
        """Labels that wait or were refused, oldest first, at most `limit`."""
        return self.project.catalog.outbox.undelivered(limit)

    def states(self, label_ids: Collection[int]) -> dict[int, DeliveryState]:
        """Delivery states by label id; labels that aren't sent to the archive are left out."""
        return self.project.catalog.outbox.states(label_ids)

    def retry(self, label_id: int) -> PendingDelivery:
        """Retry a delivery at once, also a refused one. Raises `UnknownLabel` for a label that isn't sent to the
        archive, and `Conflict` for one that has arrived there."""
        return self.project.catalog.outbox.retry(label_id)

    def retry_refused(self) -> int:
        """Retry every refused delivery; returns their number."""
        return self.project.catalog.outbox.retry_all()
