"""One workspace, one server: an exclusive lock on a workspace, which ends with the process that holds it.

`flock(2)` on a file that is never removed. What is in the file is for people: who holds the lock. A job's process opens
the workspace without it, on behalf of the server that started it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from app.errors import ConfigurationError, Conflict

NAME = "lock"

_held: set[Path] = set()
"""The workspaces that this process has locked: for the kernel, a second descriptor is another holder."""
_guard = threading.Lock()


@contextmanager
def locked(root: Path, command: str) -> Iterator[None]:
    """Hold the lock of a workspace. `command` says what for.

    Raises `Conflict`, which names the holder, if another process (or another part of this one) has it, and
    `ConfigurationError` if the workspace can't be written to.
    """
    root = root.resolve()
    try:
        descriptor = os.open(root / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the workspace {root} can't be written to: {error.strerror}. It must belong to the user that segloop runs"
            f" as (number {os.getuid()} here)"
        ) from error
    try:
        _take(descriptor, root)
        with _guard:
            _held.add(root)
        try:
            _sign(descriptor, command)
            yield
        finally:
            with _guard:
                _held.discard(root)
    finally:
        os.close(descriptor)


def require_unused(root: Path) -> None:
    """Raise `Conflict` if another process holds the lock of a workspace. Without a lock's file nobody does."""
    root = root.resolve()
    with _guard:
        if root in _held:
            return
    with suppress(OSError):
        descriptor = os.open(root / NAME, os.O_RDWR)
        try:
            _take(descriptor, root)
        finally:
            os.close(descriptor)


def _take(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(f"the workspace {root} is in use by {_holder(descriptor)}") from error


def _sign(descriptor: int, command: str) -> None:
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": started}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} ({holder['command']}, since {holder['since']})"
    except (ValueError, LookupError, TypeError):
        return "another process"
