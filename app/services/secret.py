"""The server's own secret: what it signs with so that it knows its own words again, after a restart too."""

from __future__ import annotations

import secrets

from app.durable import write_durably
from app.errors import ConfigurationError
from app.workspace import Workspace

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
