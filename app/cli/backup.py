"""`segloop backup` and `segloop restore`, and `segloop catalog restore`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import typer

from app.catalog import Catalog, backups
from app.durable import file_sha256
from app.errors import ConfigurationError, IntegrityError
from app.workspace import Workspace
from app.workspace_lock import locked

FOLDERS = ("labels", "models", "uploads")


def create_backup(into: Path, workspace: Path) -> None:
    """Copy everything that can't be recreated. The server may be running: the catalog is copied first, and the files
    that it refers to are immutable, so the copy is consistent as of that moment.

    Raises `ConfigurationError` if `into` exists.
    """
    if into.exists():
        raise ConfigurationError(f"{into} exists; a backup goes into a new folder")
    paths = Workspace(workspace.absolute())
    if not paths.catalog.exists():
        raise ConfigurationError(f"{paths.root} is not a workspace")
    into.mkdir(parents=True)
    backups.copy(paths.catalog, into / paths.catalog.name)
    for name in FOLDERS:
        shutil.copytree(paths.root / name, into / name)
    typer.echo(f"backed up to {into}; {verify(into)} label versions are intact")


def restore_workspace(source: Path, workspace: Path) -> None:
    """Create a workspace from a backup. Raises `ConfigurationError` if the workspace exists, `IntegrityError` if the
    backup is damaged; nothing is written then."""
    count = verify(source)
    paths = Workspace(workspace.absolute())
    if paths.catalog.exists():
        raise ConfigurationError(f"{paths.root} is a workspace already; restore into a new one")
    with locked(Workspace.prepared(paths.root).root, "segloop restore"):
        for name in FOLDERS:
            shutil.copytree(source / name, paths.root / name, dirs_exist_ok=True)
        _copy_catalog(source / paths.catalog.name, paths.catalog)
    typer.echo(f"restored {paths.root}; {count} label versions are intact")


def restore_catalog(backup: Path | None, workspace: Path) -> None:
    """Replace the catalog by a backup that was made before an upgrade, by default the newest that this program can
    open. Raises `ConfigurationError` if there is none, and `Conflict` if a server is running."""
    paths = Workspace(workspace.absolute())
    if not paths.root.is_dir():
        raise ConfigurationError(f"{paths.root} is not a workspace")
    with locked(paths.root, "segloop catalog restore"):
        done = backups.restore(paths.catalog, backup)
    typer.echo(f"restored {paths.catalog} from {done.backup}")
    if done.replaced is not None:
        typer.echo(f"the previous catalog is kept as {done.replaced}")
    if done.unknown:
        typer.echo(
            f"label files made since then stay in {paths.labels}, unknown to this catalog ({len(done.unknown)}):"
        )
        for name in done.unknown:
            typer.echo(f"  {name}")


def verify(folder: Path) -> int:
    """Read every label version, and the audit chain; returns how many. Raises `IntegrityError` at the first damage, and
    `ConfigurationError` if the folder is not a backup, or was made by a newer segloop."""
    file = folder / "catalog.sqlite"
    if not file.exists():
        raise ConfigurationError(f"{folder} is not a backup: it has no {file.name}")
    backups.label_paths(file)  # raises if this segloop can't open it
    # Opening a catalog may upgrade it, so a copy is opened: a backup stays as it was made.
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / file.name
        _copy_catalog(file, copy)
        return _verify_labels(copy, folder / "labels")


def _copy_catalog(file: Path, into: Path) -> None:
    """A folder that was copied from a workspace may have part of its catalog in SQLite's write-ahead log."""
    if Path(f"{file}-wal").exists():
        backups.copy(file, into)
    else:
        shutil.copy2(file, into)


def _verify_labels(file: Path, folder: Path) -> int:
    catalog = Catalog.open(file)
    try:
        broken = catalog.audit.first_broken_row()
        if broken is not None:
            raise IntegrityError(f"the audit trail was changed at row {broken}")
        labels = catalog.labels.all_versions()
        for label in labels:
            stored = folder / label.path
            if not stored.is_file() or file_sha256(stored) != label.sha256:
                raise IntegrityError(f"label {label.tag} v{label.number} of {label.case_id} is damaged or lost")
    finally:
        catalog.close()
    return len(labels)
