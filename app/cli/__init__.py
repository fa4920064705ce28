"""The command line `segloop`. Exit codes: 0 success, 1 failure, 2 invalid usage or configuration.

Commands import what they need when they are called, so that `segloop --help` is fast.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.users import users
from app.errors import CONFIGURATION_EXIT_CODE, ConfigurationError, SegloopError
from app.settings import Settings, load

cli = typer.Typer(no_args_is_help=True, add_completion=False)
models = typer.Typer(no_args_is_help=True, help="What segments, and with which weights.")
cli.add_typer(models, name="models")
viewer = typer.Typer(no_args_is_help=True, help="OHIF, which this server shows at /ohif/.")
cli.add_typer(viewer, name="viewer")
sessions = typer.Typer(no_args_is_help=True, help="What people do in their viewers, and turning it into labels.")
cli.add_typer(sessions, name="sessions")
labels = typer.Typer(no_args_is_help=True, help="Labels as files of other programs, out and in.")
cli.add_typer(labels, name="labels")
catalog = typer.Typer(no_args_is_help=True, help="The database in the workspace.")
cli.add_typer(catalog, name="catalog")
simulation = typer.Typer(no_args_is_help=True, help="Users that a program plays, to measure how good a model is.")
cli.add_typer(simulation, name="simulate")
cli.add_typer(users, name="users")

Config = Annotated[Path | None, typer.Option("--config", help="a YAML file; see configs/")]
Studies = Annotated[str | None, typer.Option("--studies", help="address of a DICOMweb service, or a folder")]
WorkspaceDir = Annotated[Path | None, typer.Option("--workspace", help="where the server keeps what it knows")]
Address = Annotated[str, typer.Option("--server", help="the server that runs")]
Token = Annotated[str | None, typer.Option("--token", help="what it asks for; else SEGLOOP_TOKEN or the settings")]
LOCAL = "http://127.0.0.1:8000"


def _show_version(wanted: bool) -> None:
    if wanted:
        from app.distribution import segloop_version

        typer.echo(f"segloop {segloop_version()}")
        raise typer.Exit


@cli.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """One server behind every viewer."""


def _options(**values: Any) -> dict[str, Any]:
    """The options that were given on the command line."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items() if value is not None}


@cli.command()
def serve(
    config: Config = None,
    studies: Studies = None,
    workspace: WorkspaceDir = None,
    host: Annotated[str | None, typer.Option(help="address to listen on; others than loopback need a token")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one")] = None,
    also_port: Annotated[
        list[int] | None, typer.Option(help="answer on this port too, such as 8911 for ITK-SNAP; may be repeated")
    ] = None,
    model_dir: Annotated[Path | None, typer.Option("--model-dir", help="ONNX models to load for ITKIT clients")] = None,
) -> None:
    """Run the server."""
    from app.cli.serve import run

    given = _options(studies=studies, workspace=workspace, host=host, port=port, model_dir=model_dir)
    run(config, given | _options(also_ports=also_port or None))


@cli.command()
def doctor(config: Config = None, studies: Studies = None, workspace: WorkspaceDir = None) -> None:
    """Show the settings in force and where each comes from, and try everything out."""
    from app.cli.doctor import run

    run(config, _options(studies=studies, workspace=workspace))


@cli.command()
def demo(
    studies: Annotated[str | None, typer.Option("--studies", help="play against this DICOMweb archive")] = None,
    folder: Annotated[Path, typer.Option(help="where the demo keeps its files")] = Path("demo"),
    once: Annotated[bool, typer.Option("--once", help="exit at the end instead of serving on")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="store phantom studies in an archive that isn't local")] = False,
) -> None:
    """Play an annotator through a few rounds of labelling, training and picking."""
    from app.demo.play import DemoOptions, play

    raise typer.Exit(play(DemoOptions(folder=folder, archive=studies, once=once, store_anywhere=yes)))


@cli.command()
def phantoms(
    folder: Path,
    patients: Annotated[int, typer.Option(min=1)] = 8,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Write made-up CT studies as DICOM."""
    from app.demo.phantoms import write_studies

    studies = write_studies(folder / "studies", folder / "truth", patients, seed)
    typer.echo(f"{len(studies)} series of {patients} made-up patients in {folder / 'studies'}")


@cli.command()
def backup(into: Path, config: Config = None, workspace: WorkspaceDir = None) -> None:
    """Copy catalog, labels, models and uploads into a new folder, while the server runs."""
    from app.cli.backup import create_backup

    create_backup(into, load(config, _options(workspace=workspace))[0].workspace)


@cli.command()
def restore(source: Path, config: Config = None, workspace: WorkspaceDir = None) -> None:
    """Check a backup, every file's digest too, and make a workspace of it."""
    from app.cli.backup import restore_workspace

    restore_workspace(source, load(config, _options(workspace=workspace))[0].workspace)


@cli.command()
def fsck(
    config: Config = None,
    workspace: WorkspaceDir = None,
    repair: Annotated[bool, typer.Option("--repair", help="make missing rows from what the label files say")] = False,
) -> None:
    """Compare the catalog with the label files, and read all of them."""
    from app.cli.fsck import run

    run(load(config, _options(workspace=workspace))[0], repair=repair)


@catalog.command("restore")
def catalog_restore(
    backup: Annotated[Path | None, typer.Argument(help="by default the newest in backups/ of the workspace")] = None,
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Restore the catalog from before an upgrade, to run an older segloop again. Label files made since then stay."""
    from app.cli.backup import restore_catalog

    restore_catalog(backup, load(config, _options(workspace=workspace))[0].workspace)


@cli.command(hidden=True)
def job(job_id: str, settings: Annotated[Path, typer.Option("--settings")]) -> None:
    """Do one job of the job table; the server starts these."""
    from app.learning.job_process import run_job

    raise typer.Exit(run_job(job_id, Settings.read_private(settings)))


@models.command("list")
def models_list(config: Config = None, workspace: WorkspaceDir = None) -> None:
    """Show every model with its licence, its versions, and which one is served."""
    from app.cli.models import show

    show(load(config, _options(workspace=workspace))[0])


@models.command("pull")
def models_pull(model: str) -> None:
    """Fetch an official nnInteractive model by its id. Its weights are licensed for non-commercial use."""
    from app.models.nninteractive.folder import pull

    typer.echo(f"{model} is in {pull(model)}; its licence stands beside it")


@models.command("import")
def models_import(
    name: str,
    file: Path,
    config: Config = None,
    workspace: WorkspaceDir = None,
    trust: Annotated[bool, typer.Option("--trust", help="allow TorchScript, which is code")] = False,
) -> None:
    """Serve the weights of a MONAI Label model file as a new version of NAME."""
    from app.cli.models import bring

    bring(load(config, _options(workspace=workspace))[0], name, file, trusted=trust)


@models.command("rollback")
def models_rollback(name: str, config: Config = None, workspace: WorkspaceDir = None) -> None:
    """Serve the published version before the one that NAME serves now."""
    from app.cli.models import roll_back

    roll_back(load(config, _options(workspace=workspace))[0], name)


@models.command("serve")
def models_serve(version: str, config: Config = None, workspace: WorkspaceDir = None) -> None:
    """Serve VERSION (as `models list` shows it), rejected ones too."""
    from app.cli.models import serve_version

    serve_version(load(config, _options(workspace=workspace))[0], version)


@viewer.command("install")
def viewer_install(
    tarball: Annotated[Path | None, typer.Option("--from", help="a tarball of `npm pack`; else npm fetches it")] = None,
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Fetch the pinned OHIF, check it, and put it where the server looks for it."""
    from app.cli.viewer import bring

    bring(load(config, _options(workspace=workspace))[0], tarball)


@sessions.command("list")
def sessions_list(address: Address = LOCAL, token: Token = None, config: Config = None) -> None:
    """Show the prompt sessions of every viewer."""
    from app.cli.sessions import connected, show_all

    with connected(address, _token(token, config)) as client:
        show_all(client)


@sessions.command("show")
def sessions_show(name: str, address: Address = LOCAL, token: Token = None, config: Config = None) -> None:
    """Show one session, by its name in the list."""
    from app.cli.sessions import connected, show_one

    with connected(address, _token(token, config)) as client:
        show_one(client, name)


@sessions.command("submit")
def sessions_submit(
    name: str,
    structure: Annotated[
        str, typer.Option(help="what is segmented; may be left out if the project has one structure")
    ] = "",
    comment: Annotated[str, typer.Option(help="kept with the label")] = "",
    address: Address = LOCAL,
    token: Token = None,
    config: Config = None,
) -> None:
    """Keep what was segmented in a session as a final label."""
    from app.cli.sessions import connected, submit

    with connected(address, _token(token, config)) as client:
        submit(client, name, structure, comment)


@labels.command("export")
def labels_export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new folder, or one of an earlier export")],
    format_name: Annotated[
        str, typer.Option("--format", help="nnunet, nifti, nrrd, seg, rtstruct, bids, msd or csv; see docs/data.md")
    ],
    tag: Annotated[str, typer.Option(help="which labels; the newest of each case")] = "final",
    structures: Annotated[str, typer.Option(help="only these, separated by commas, in the order of their values")] = "",
    overlaps: Annotated[
        str, typer.Option(help="where a file holds one structure a voxel: refuse the case, or the later one (order)")
    ] = "refuse",
    modality: Annotated[str, typer.Option(help="of NIfTI, NRRD and MHA files, such as CT")] = "",
    bids_suffix: Annotated[str, typer.Option(help="of MR images, such as T1w; else their descriptions say it")] = "",
    server: Annotated[str, typer.Option("--server", help="ask this server instead of opening a workspace")] = "",
    token: Token = None,
    config: Config = None,
    studies: Studies = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Write labels, and their images, as other programs read them. A server may run meanwhile."""
    from app.cli.labels import export, export_from, export_options
    from app.cli.sessions import connected

    options = export_options(format_name, tag, structures, overlaps, modality, bids_suffix)
    if server:
        with connected(server, _token(token, config)) as client:
            export_from(client, folder, options)
    export(load(config, _options(studies=studies, workspace=workspace))[0], folder, options)


@labels.command("import")
def labels_import(
    source: Annotated[Path, typer.Argument(help="a mask file, or a folder: DICOM SEG, RTSTRUCT, NIfTI, NRRD, MHA")],
    tag: Annotated[str, typer.Option(help="of the labels; final ones count as done and are trained on")] = "original",
    author: Annotated[str, typer.Option(help="of the labels; else as the files say")] = "",
    name: Annotated[
        list[str] | None, typer.Option(help="a voxel value or a name in the files, and its structure: 1=liver")
    ] = None,
    cases: Annotated[Path | None, typer.Option(help="a CSV with the columns file and case")] = None,
    pattern: Annotated[str, typer.Option(help="a regular expression on files' names, with a group (?P<case>...)")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be done")] = False,
    config: Config = None,
    studies: Studies = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Make label versions of masks that other programs wrote. A server may run meanwhile."""
    from app.cli.labels import bring, import_options

    options = import_options((tag, author), name or [], cases, pattern, dry_run)
    bring(load(config, _options(studies=studies, workspace=workspace))[0], source, options)


@simulation.command("clicks")
def simulate_clicks(
    images: Annotated[Path, typer.Argument(help="volume files or the CVPR 2025 challenge's npz: one, or a folder")],
    labels: Annotated[Path | None, typer.Argument(help="their labels, by the same names; npz may hold theirs")] = None,
    model: Annotated[str, typer.Option(help="a model of the settings; else the first that takes prompts")] = "",
    server: Annotated[str, typer.Option("--server", help="click over HTTP, with nnInteractive's client")] = "",
    count: Annotated[int, typer.Option("--clicks", min=1, help="for each structure")] = 10,
    box: Annotated[bool, typer.Option("--box", help="begin with a box")] = False,
    style: Annotated[str, typer.Option(help="points, scribbles or lassos")] = "points",
    plane: Annotated[str, typer.Option(help="of scribbles and lassos: axial, coronal or sagittal")] = "axial",
    noise: Annotated[int, typer.Option(min=0, help="how many voxels a prompt may miss its place by")] = 0,
    seed: Annotated[int, typer.Option(help="of the draws among equally good places, and of the noise")] = 42,
    min_voxels: Annotated[int, typer.Option(min=1, help="smaller structures are left out")] = 200,
    csv: Annotated[Path | None, typer.Option(help="write every prompt to this file")] = None,
    picture: Annotated[Path | None, typer.Option(help="draw the curves into this file (needs matplotlib)")] = None,
    token: Token = None,
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Click into the largest error again and again, and show Dice, surface Dice and seconds for each click."""
    from app.cli.simulate import Outputs, clicks, target_of, user
    from app.simulation.run import Protocol

    robot = user(style, plane, noise, seed)
    settings = load(config, _options(workspace=workspace))[0]
    with target_of(settings, model, server, _token(token, config) if server else "") as target:
        clicks(target, (images, labels), robot, Protocol(count, box, min_voxels), Outputs(csv, picture))


@simulation.command("learning")
def simulate_learning(
    images: Annotated[
        Path | None, typer.Argument(help="volume files of your own, for a scenario without phantoms")
    ] = None,
    labels: Annotated[Path | None, typer.Argument(help="their labels, by the same names")] = None,
    scenario: Annotated[
        str, typer.Option(help="see docs/simulate.md; own-cases: your files or your project")
    ] = "redundant",
    strategies: Annotated[str, typer.Option(help="names, separated by commas")] = "random,patient_random,entropy",
    seeds: Annotated[str, typer.Option(help="such as 0,1,2 or 0-9")] = "0-2",
    processes: Annotated[int, typer.Option(min=1, help="how many runs at a time, with one thread each")] = 2,
    patient: Annotated[str, typer.Option(help="a regular expression; its group in a file's name is the patient")] = "",
    folder: Annotated[Path, typer.Option(help="where results go; the runs that it has aren't repeated")] = Path(
        "simulated"
    ),
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Label cases in the order that strategies pick, train after each round, and compare what the models learn."""
    from app.cli.simulate_learning import learning, scenario_named, seeds_of, source_of, strategies_of

    chosen = scenario_named(scenario)
    source = source_of(chosen, images, labels, patient, load(config, _options(workspace=workspace))[0])
    runs = [(name, seed) for seed in seeds_of(seeds) for name in strategies_of(strategies)]
    learning(chosen, source, runs, processes, folder)


def _token(given: str | None, config: Path | None) -> str:
    return load(config, {})[0].secret_token if given is None else given


def main() -> None:
    """The console script."""
    try:
        cli()
    except ConfigurationError as error:
        typer.echo(f"segloop: {error}", err=True)
        sys.exit(CONFIGURATION_EXIT_CODE)
    except SegloopError as error:
        typer.echo(f"segloop: {error}", err=True)
        sys.exit(1)
