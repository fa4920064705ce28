"""What the catalog is asked for while something is done: look-ups of cases, and transactions that wait for the disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

_CASE = re.compile(r"\bFROM case_\b")


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts over all catalogs of this process; background work has to rest meanwhile."""
    counts = {"look-ups": 0, "writes": 0}

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if _CASE.search(statement):
            counts["look-ups"] += 1
        if statement.startswith("BEGIN IMMEDIATE"):
            counts["writes"] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        yield counts
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
