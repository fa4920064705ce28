"""The server's own log, for people who ask for it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LogService:
    file: Path

    def tail(self, lines: int) -> str:
        """The last lines of the log; all of it if `lines` isn't positive."""
        if not self.file.exists():
            return ""
        with self.file.open(encoding="utf-8", errors="replace") as stream:
            return "".join(deque(stream, lines if lines > 0 else None))
