"""`segloop viewer install`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from app.settings import Settings
from app.web.viewer.install import PINNED, fetch, home, install, installed


def bring(settings: Settings, tarball: Path | None) -> None:
    """Install the pinned OHIF from npm, unless it is installed, or from a local tarball.

    Raises `SegloopError`.
    """
    folder = settings.viewer_folder
    if tarball is None and installed(folder) is not None:
        typer.echo(f"OHIF {PINNED.version} is in {home(folder)} already")
        return
    if tarball is not None:
        done = install(tarball, folder)
    else:
        typer.echo(f"fetching {PINNED.package} with npm")
        with tempfile.TemporaryDirectory() as scratch:
            done = install(fetch(Path(scratch)), folder)
    typer.echo(f"OHIF {done.version}: {done.files} files, {done.bytes / 1e6:.0f} MB in {home(folder)}")
