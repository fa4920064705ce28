"""A private Postgres for tests: Debian's binaries, a Unix socket in a temporary folder, gone at the end."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PostgresMissing(RuntimeError):
    """Postgres, its driver, or a user that it runs as is not there."""


@contextmanager
def running() -> Iterator[str]:
    """The address of an empty database, as SQLAlchemy takes it. Raises `PostgresMissing`."""
    programs = _programs()
    user = _user()
    # Not pytest's: the user that Postgres runs as couldn't enter it.
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        if user != getpass.getuser():
            shutil.chown(folder, user)
        data = folder / "data"

        def run(*command: str | Path) -> None:
            subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=folder, user=user)

        run(programs / "initdb", "--pgdata", data, "--auth", "trust", "--username", "segloop", "--no-sync")
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        run(programs / "pg_ctl", "--pgdata", data, "--wait", "--log", folder / "log", "--options", options, "start")
        try:
            yield f"postgresql+psycopg://segloop@/postgres?host={folder}"
        finally:
            run(programs / "pg_ctl", "--pgdata", data, "--wait", "--mode", "immediate", "stop")


def _programs() -> Path:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise PostgresMissing("psycopg is not installed") from error
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("pg_ctl", path=os.pathsep.join([*map(str, debian), os.environ.get("PATH", "")]))
    if found is None:
        raise PostgresMissing("Postgres (Debian's package postgresql) is not installed")
    return Path(found).parent


def _user() -> str:
    """Who it runs as: it refuses to run as root."""
    import pwd

    if os.getuid() != 0:
        return getpass.getuser()
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        raise PostgresMissing("Postgres doesn't run as root, and there is no user postgres") from error
