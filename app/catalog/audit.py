"""The audit trail: who changed what. Each row's digest includes the previous one, so later edits are detected."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import audit


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, connection: sa.Connection, who: str, action: str, subject: str, detail: Mapping[str, Any]) -> None:
        """Add a row within the transaction of the change that it records."""
        previous = connection.scalar(sa.select(audit.c.chain).order_by(audit.c.id.desc()).limit(1)) or ""
        now = time.time()
        row = {"time": now, "who": who, "action": action, "subject": subject, "detail": dict(detail)}
        connection.execute(sa.insert(audit).values(**row, chain=_link(previous, row)))

    def first_broken_row(self) -> int | None:
        """The id of the first row whose digest is wrong; None if there is none."""
        previous = ""
        with self._database.read() as connection:
            for row in connection.execute(sa.select(audit).order_by(audit.c.id)).mappings():
                content = {key: row[key] for key in ("time", "who", "action", "subject", "detail")}
                if _link(previous, content) != row["chain"]:
                    return int(row["id"])
                previous = row["chain"]
        return None


def _link(previous: str, row: Mapping[str, Any]) -> str:
    return hashlib.sha256((previous + json.dumps(row, sort_keys=True)).encode()).hexdigest()
