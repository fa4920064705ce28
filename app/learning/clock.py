"""Periodic tasks in the server process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recurring:
    """A short task to run every `seconds`, such as polling the archive or queueing a job that is due."""

    name: str
    seconds: float
    run: Callable[[], object]


class Clock:
    """Runs periodic tasks in threads of its own. Runs of a task never overlap, several missed runs are replaced by one,
    and errors are logged."""

    def __init__(self, work: Sequence[Recurring]) -> None:
        # In memory: work that must survive a restart is in the catalog's job table.
        self._scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(max(1, len(work)))})
        for one in work:
            self._scheduler.add_job(
                _logged,
                "interval",
                args=(one,),
                seconds=one.seconds,
                id=one.name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )

    def start(self) -> None:
        self._scheduler.start()

    def shutdown(self) -> None:
        """Stop, and wait for running tasks."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _logged(work: Recurring) -> None:
    try:
        work.run()
    except Exception:
        logger.exception("%s failed; it runs again in %.0f s", work.name, work.seconds)
