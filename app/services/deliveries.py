"""Labels on their way to the archive: how many wait, what was refused, trying again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.core.label import DeliveryState, OutboxState, Waiting
from app.project.project import Project


@dataclass(frozen=True)
class Undelivered:
    """`state` counts; `waiting` are the oldest labels that the archive has not confirmed yet, `refused` the oldest that
    it will not have, which nobody sends until someone asks for that."""

    state: OutboxState
    waiting: list[Waiting]
    refused: list[Waiting]


@dataclass(frozen=True)
class DeliveryService:
    project: Project

    def outbox(self, limit: int = 50) -> Undelivered:
        """How the outbox stands, with at most `limit` labels of each kind."""
        outbox = self.project.catalog.outbox
        return Undelivered(outbox.state(), outbox.waiting(limit), outbox.refusals(limit))

    def oldest(self, limit: int) -> list[Waiting]:
        """Labels that wait or were refused, oldest first."""
        return self.project.catalog.outbox.undelivered(limit)

    def states(self, label_ids: Collection[int]) -> dict[int, DeliveryState]:
        """How far labels are, by their ids; those that don't go to the archive are left out."""
        return self.project.catalog.outbox.states(label_ids)

    def retry(self, label_id: int) -> Waiting:
        """Send a label at once, also one that was refused. Raises `UnknownLabel` for one that doesn't go to the
        archive, `Conflict` for one that is there."""
        return self.project.catalog.outbox.try_again(label_id)

    def retry_refused(self) -> int:
        """Send everything that was refused; returns how many labels that are."""
        return self.project.catalog.outbox.try_all_again()
