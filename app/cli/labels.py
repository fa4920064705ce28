"""`segloop labels ...`: labels as files of other programs."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app.client import Client
from app.core.progress import Progress as Report
from app.errors import BadFile, BadInput, ConfigurationError, SegloopError
from app.models.device import Device
from app.project.open_models import open_models
from app.project.project import Project
from app.services.cases import CaseService
from app.services.exports import FORMATS, ExportOptions, ExportReport, OverlapRule, export_labels
from app.services.exports.files import ExportFile
from app.services.exports.folder import ExportFolder
from app.services.imports import ImportOptions, cases_of, import_labels
from app.services.labels import LabelService
from app.services.models import ModelService
from app.settings import Settings
from app.workspace import Workspace


def export_options(
    format_name: str, tag: str, structures: str, overlaps: str, modality: str, bids_suffix: str
) -> ExportOptions:
    """Raises `BadInput` for a format or a rule that doesn't exist."""
    if format_name not in FORMATS:
        raise BadInput(f"--format {format_name}: there are {', '.join(FORMATS)}")
    if overlaps not in ("refuse", "order"):
        raise BadInput(f"--overlaps {overlaps}: refuse or order")
    names = tuple(name.strip() for name in structures.split(",") if name.strip())
    rule: OverlapRule = "order" if overlaps == "order" else "refuse"
    return ExportOptions(format_name, tag, names, rule, modality, bids_suffix)


def export(settings: Settings, folder: Path, options: ExportOptions) -> None:
    """Export from a workspace, and say what was done. Exits with 1 if a case was left out."""
    with opened_project(settings) as project, progress_bar(f"exporting as {options.format}") as progress:
        report = export_labels(project, folder, options, progress)
    _say(report, folder)
    raise typer.Exit(1 if report.left_out else 0)


def export_from(client: Client, folder: Path, options: ExportOptions) -> None:
    """Export what a server has, over its API; else as `export`."""
    asked = {**asdict(options), "structures": list(options.structures)}
    with progress_bar(f"exporting as {options.format}") as progress:
        done = client.export(asked.pop("format"), progress, **asked)
        if done.state == "failed":
            raise SegloopError(done.message)
        with tempfile.TemporaryFile() as file:
            client.export_file(done.id, file)
            report = _unpack(file, folder, options.format)
    _say(replace(report, cases=done.cases, left_out=done.left_out, notes=done.notes), folder)
    raise typer.Exit(1 if done.left_out else 0)


def _unpack(file: IO[bytes], folder: Path, format_name: str) -> ExportReport:
    """Add an archive's files to the folder. Raises `BadFile` for one that segloop wouldn't make."""
    with ExportFolder.opened(folder, format_name) as target:
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if any(part in ("", "..") for part in member.filename.split("/")):
                        raise BadFile(f"the server's archive has a file {member.filename!r}")

                    def write(into: BinaryIO, member: zipfile.ZipInfo = member) -> None:
                        with archive.open(member) as source:
                            shutil.copyfileobj(source, into, 1 << 20)

                    target.add(ExportFile(member.filename, "label", write), member.CRC, member.file_size)
        except zipfile.BadZipFile as error:
            raise BadFile("the server's archive is damaged; try again") from error
        target.finish()
        return ExportReport(written=target.written, kept=target.kept, removed=target.removed)


def import_options(
    kept_as: tuple[str, str], names: Sequence[str], cases: Path | None, pattern: str, dry_run: bool
) -> ImportOptions:
    """`kept_as` is tag and author; `names` are texts such as "1=liver". Raises `BadInput`."""
    given = {}
    for text in names:
        said, found, structure = text.partition("=")
        if not found or not said.strip() or not structure.strip():
            raise BadInput(f"--name {text}: a voxel value or a name, and a structure, such as 1=liver")
        given[said.strip()] = structure.strip()
    table = cases_of(cases) if cases is not None else {}
    return ImportOptions(kept_as[0], kept_as[1], given, table, pattern, dry_run)


def bring(settings: Settings, source: Path, options: ImportOptions) -> None:
    """Import into a workspace, and say what became of each file. Exits with 1 if one was refused."""
    counts: Counter[str] = Counter()
    with opened_project(settings) as project, progress_bar("importing") as progress:
        device = Device("cpu")
        models = ModelService(project, open_models(project, device), device)
        labels = LabelService(project, CaseService(project), models)
        for one in import_labels(labels, source, options, progress):
            counts[one.result] += 1
            typer.echo(f"{one.result:<9} {one.name}{f' -> {one.case_id}' if one.case_id else ''}: {one.detail}")
    would = "would be " if options.dry_run else ""
    typer.echo(f"{counts['imported']} {would}imported, {counts['known']} known already, {counts['refused']} refused")
    raise typer.Exit(1 if counts["refused"] else 0)


@contextmanager
def opened_project(settings: Settings) -> Iterator[Project]:
    """The project of a workspace, which a server may have open too. Raises `ConfigurationError` for a folder that is no
    workspace."""
    paths = Workspace(settings.workspace.absolute())
    if not paths.catalog.exists():
        raise ConfigurationError(f"{paths.root} is not a workspace")
    project = Project.open(settings)
    try:
        yield project
    finally:
        project.close()


@contextmanager
def progress_bar(title: str) -> Iterator[Report]:
    """Shows a bar on standard error; nothing where that isn't a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal
    ) as bar:
        task = bar.add_task(title, total=1.0)

        def advance(done: float, text: str = "") -> None:
            bar.update(task, completed=done, description=f"{title} {text[:40]}".rstrip())

        yield advance


def _say(report: ExportReport, folder: Path) -> None:
    cases = "1 case" if report.cases == 1 else f"{report.cases} cases"
    typer.echo(f"{cases} in {folder}: {report.written} files written, {report.kept} were there already")
    if report.removed:
        typer.echo(f"{report.removed} files of an earlier export removed, which are no longer part of it")
    for note in report.notes:
        typer.echo(f"note      {note}")
    for case_id, why in report.left_out.items():
        typer.echo(f"left out  {case_id}: {why}")
