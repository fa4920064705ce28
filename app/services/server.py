"""The server's log, and its signing key, which outlives a restart."""

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
    """Reads the server's log `file`."""

    file: Path

    def tail(self, lines: int) -> str:
        """The last lines of the log; all of it if `lines` isn't positive."""
        if not self.file.exists():
            return ""
        with self.file.open(encoding="utf-8", errors="replace") as stream:
            return "".join(deque(stream, lines if lines > 0 else None))


SECRET_BYTES = 32


def server_secret(paths: Workspace) -> bytes:
    """The signing key of a workspace, made at first use with file mode 0600.

    Raises `ConfigurationError` if its file has another length: with a shorter key, ids could be forged.
    """
    if not paths.secret.exists():
        # Renamed atomically, so that a kill never leaves half a key; temporary files have mode 0600.
        write_durably(paths.secret, lambda file: file.write(secrets.token_bytes(SECRET_BYTES)))
    secret = paths.secret.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ConfigurationError(f"{paths.secret} should hold {SECRET_BYTES} bytes; delete it and a new one is made")
    return secret
