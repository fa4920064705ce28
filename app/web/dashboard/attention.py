"""What needs a hand, in a line each; nothing while all is well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.web.dashboard.delivery import Delivery
from app.web.dashboard.jobs import Jobs
from app.web.dashboard.prompt_sessions import Sessions

NEARLY_FULL = 0.9


@dataclass(frozen=True)
class Notice:
    """`panel` is where to look further."""

    text: str
    panel: str


def attention(delivery: Delivery, jobs: Jobs, sessions: Sessions) -> tuple[Notice, ...]:
    return tuple(_notices(delivery, jobs, sessions))


def _notices(delivery: Delivery, jobs: Jobs, sessions: Sessions) -> Iterator[Notice]:
    if delivery.problem:
        yield Notice(f"The archive can't be read: {delivery.problem}", "archive")
    if delivery.turned_down:
        count = f"{delivery.refused} labels were" if delivery.refused != 1 else "A label was"
        yield Notice(f"{count} refused by the archive: {delivery.turned_down[0].error}", "archive")
    tried = [one for one in delivery.stuck if one.error]
    if tried:
        count = f"{delivery.waiting} labels wait" if delivery.waiting != 1 else "A label waits"
        yield Notice(f"{count} for the archive. The last try: {tried[0].error}", "archive")
    if delivery.unusable_cases:
        count = f"{delivery.unusable_cases} images" if delivery.unusable_cases != 1 else "An image"
        yield Notice(f"{count} can't be used and won't be offered", "archive")
    # Only the newest of its kind and model: a failure that a later run made good is history.
    newest = {(row.kind, row.model): row for row in reversed(jobs.rows)}
    for row in newest.values():
        if row.failed:
            yield Notice(f"{row.title} failed: {row.message}", "jobs")
    if sessions.bytes > NEARLY_FULL * sessions.max_bytes:
        yield Notice("Memory for prompt sessions is nearly used up", "sessions")
