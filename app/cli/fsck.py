"""`segloop fsck`."""

from __future__ import annotations

import typer

from app.archives.label_store import LabelStore
from app.errors import ConfigurationError
from app.project import fsck
from app.settings import Settings
from app.workspace import Workspace
from app.workspace_lock import locked


def run(settings: Settings, *, repair: bool) -> None:
    """Print what is wrong, and with `repair` what was done about it. Exits with 1 if anything is wrong in the end.

    Raises `ConfigurationError` for a folder that is no workspace, and with `repair` `Conflict` if a server uses it.
    """
    paths = Workspace(settings.workspace.absolute())
    if not paths.catalog.exists() and not paths.labels.is_dir():
        raise ConfigurationError(f"{paths.root} is not a workspace")
    if repair:
        with locked(paths.root, "segloop fsck --repair"):
            report = fsck.repair(paths, LabelStore(paths.labels, settings.labels.seg_type))
    else:
        report = fsck.check(paths)
    for line in report.done:
        typer.echo(f"repaired  {line}")
    for line in report.problems:
        typer.echo(f"PROBLEM   {line}")
    if not report.problems:
        typer.echo("the catalog and the label files agree")
    raise typer.Exit(1 if report.problems else 0)
