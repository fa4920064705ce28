"""The workspace: the folder with all data of a server, in a layout that people can browse."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from app.errors import ConfigurationError


@dataclass(frozen=True)
class Workspace:
    """The files and folders of a workspace. `open` creates them.

    | folder | holds |
    | --- | --- |
    | `lock` | which process serves it (`app.workspace_lock`) |
    | `catalog.sqlite` | cases, labels, jobs, versions, claims, audit |
    | `backups/` | the catalog as it was before each upgrade of its schema |
    | `labels/` | every label version, never overwritten |
    | `models/` | model versions, never overwritten |
    | `uploads/` | images that clients sent |
    | `sessions/` | the log and the snapshot of each prompt session |
    | `cache/` | fetched volumes; may be deleted when the server is down |
    | `jobs/` | logs and checkpoints of jobs |
    | `incoming/` | uploads that are being received; emptied at start |
    | `accounts` | touched when accounts change |
    | `logs/` | the server's log |
    """

    root: Path

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Raises `ConfigurationError` if the folders don't exist and can't be created."""
        workspace = cls.prepared(root)
        with _operator_errors(workspace.root):
            for folder in ("labels", "models", "uploads", "sessions", "cache", "jobs", "incoming", "logs"):
                (workspace.root / folder).mkdir(exist_ok=True)
        return workspace

    @classmethod
    def prepared(cls, root: Path) -> Workspace:
        """The workspace with nothing but its folder, which only this user can enter if it is created here; for others
        than the group it is closed in any case. Raises `ConfigurationError`."""
        workspace = cls(root.absolute())
        with _operator_errors(workspace.root):
            workspace.root.mkdir(0o700, parents=True, exist_ok=True)
            state = workspace.root.stat()
            if state.st_mode & 0o007 and state.st_uid == os.getuid():
                workspace.root.chmod(state.st_mode & 0o770)
        return workspace

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.sqlite"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def labels(self) -> Path:
        return self.root / "labels"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def sessions(self) -> Path:
        return self.root / "sessions"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    @property
    def log(self) -> Path:
        return self.root / "logs" / "segloop.log"

    @property
    def interaction(self) -> Path:
        """Touched at every prompt; jobs pause while its modification time is recent."""
        return self.root / "interaction"

    @property
    def token(self) -> Path:
        """The token that a pod generated."""
        return self.root / "token"

    @property
    def accounts(self) -> Path:
        """Touched when accounts change (`app.services.accounts`)."""
        return self.root / "accounts"

    @property
    def secret(self) -> Path:
        """What this server signs with (`app.services.server`)."""
        return self.root / "secret"


@contextmanager
def _operator_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Usually a volume that is mounted into a container and belongs to another user.
        raise ConfigurationError(
            f"the workspace {root} can't be made: {error.strerror}. It must belong to the user that"
            f" segloop runs as (number {os.getuid()} here)"
        ) from error


def safe_name(text: str) -> str:
    """A file name for untrusted text: readable, and unique for each text."""
    readable = re.sub(r"[^A-Za-z0-9.+-]", "_", text).lstrip(".")[:80]
    return readable if readable == text else f"{readable or 'name'}~{sha256(text.encode()).hexdigest()[:8]}"


def seg_beside(path: str) -> str:
    """The path of the DICOM SEG that belongs to a label's file: the file itself, or the one beside a labelmap."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}.dcm"
