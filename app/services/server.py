"""The server itself: its log, for people who ask for it, and its secret, with which it signs what it has to know again
after a restart."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from app.durable import write_durably
from app.errors import ConfigurationError
from app.workspace import Workspace


@dataclass(frozen=True)
class LogService:
    file: Path

    def tail(self, lines: int) -> str:
        """The last lines of the log; all of it if `lines` isn't positive."""
        if not self.file.exists():
            return ""
        with self.file.open(encoding="utf-8", errors="replace") as stream:
            return "".join(deque(stream, lines if lines > 0 else None))


BYTES = 32


def server_secret(paths: Workspace) -> bytes:
    """The secret of a workspace, made at first use and readable by this user alone.

    Raises `ConfigurationError` if its file holds something else: signing with less would let ids be made up.
    """
    if not paths.secret.exists():
        # Written beside and renamed, so that a kill never leaves half a secret; such a file is made with mode 0600.
        write_durably(paths.secret, lambda file: file.write(secrets.token_bytes(BYTES)))
    secret = paths.secret.read_bytes()
    if len(secret) != BYTES:
        raise ConfigurationError(f"{paths.secret} should hold {BYTES} bytes; delete it and a new one is made")
    return secret
