"""The whole demo: phantoms, a server, an annotator, a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from app.demo.anatomy import STRUCTURES
from app.demo.annotator import Annotator
from app.demo.client import Client, Refused
from app.demo.narrator import Narrator
from app.demo.phantoms import Truth, read_truth, write_studies
from app.demo.plan import PATIENT_PREFIX
from app.demo.report import draw, table
from app.demo.rounds import Game, Round, held_out
from app.demo.server import Launch, Server, ServerFailed, running, terminable
from app.demo.stow import is_local, store
from app.distribution import shipped_configs
from app.errors import ConfigurationError, SegloopError
from app.settings import load

SYNC_SECONDS = 120.0
"""Seconds to wait until the server has listed all phantoms."""

DELIVERY_SECONDS = 30.0
LOG_COLUMNS = 150

NAME = "Annotator^Robot"
"""A DICOM person name: it is stored in the labels."""


def _console() -> Console:
    """A console, with a fixed width if the output isn't a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_COLUMNS)


@dataclass(frozen=True)
class DemoOptions:
    """`folder` holds `studies` and `truth` (shared by all runs) and one folder per run. `archive` is the address of a
    DICOMweb service to use; the phantoms are stored there, on another machine only with `store_anywhere`. `config` is
    the server's configuration file, by default the shipped one for demos. With the default `seed`, two of the eight
    patients are for validation.
    """

    folder: Path = Path("demo")
    archive: str | None = None
    once: bool = False
    store_anywhere: bool = False
    config: Path | None = None
    patients: int = 8
    seed: int = 6
    rounds: int = 3
    cases: int = 3
    held_out: int = 2
    console: Console = field(default_factory=_console)


def play(options: DemoOptions) -> int:
    """Run the demo. Returns the exit code: 0 success, 1 failure, 2 invalid usage or configuration."""
    narrator = Narrator(options.console)
    with terminable():
        try:
            return _play(options, narrator)
        except ConfigurationError as error:
            narrator.say(f"segloop: {error}")
            return 2
        except (SegloopError, Refused, ServerFailed) as error:
            narrator.say(f"segloop: the demo failed: {error}")
            return 1
        except KeyboardInterrupt:
            narrator.say("stopped")
            return 1


def _play(options: DemoOptions, narrator: Narrator) -> int:
    config = options.config or shipped_configs() / "demo.yaml"
    if options.archive and not (is_local(options.archive) or options.store_anywhere):
        raise ConfigurationError(
            f"the demo stores {options.patients} made-up patients and their labels in {options.archive}; say --yes if"
            " that is what you want"
        )
    studies, truth = options.folder / "studies", options.folder / "truth"
    with narrator.step("making phantom CT studies") as tell:
        made = write_studies(studies, truth, options.patients, options.seed, tell)
    if options.archive:
        settings, _ = load(config, {"studies": options.archive})
        with narrator.step(f"storing {len(made)} phantom series in {options.archive}") as tell:
            store(settings, studies, made, tell)
    run = _new_folder(options.folder)
    narrator.say(f"{len(made)} series of {options.patients} made-up patients; this run is kept in {run}")
    launch = Launch(
        config=config,
        studies=options.archive or str(studies),
        workspace=run / "workspace",
        log=run / "server.txt",
        settings=_settings(options, run),
    )
    with running(launch) as server:
        narrator.say(f"the server answers at {server.address}")
        client = Client(server.address, NAME)
        client.wait_for_cases(len(made), SYNC_SECONDS)
        game = _game(client, lambda case_id: read_truth(truth, case_id), options)
        rounds = game.play(narrator)
        options.console.print(table(rounds))
        _draw(rounds, game.annotator.names, options.folder / "report.png", narrator)
        arrived = server.delivers(DELIVERY_SECONDS)
        narrator.say(
            "every label is in the archive" if arrived else "some labels are still on their way to the archive"
        )
        if options.once:
            return 0
        return _serve_on(server, narrator)


def _settings(options: DemoOptions, run: Path) -> Mapping[str, str]:
    # All runs share one viewer, which `make demo` installs.
    viewer = {"SEGLOOP_VIEWER_DIR": str((options.folder / "viewer").absolute())}
    if options.archive:
        # Only phantoms become cases, whatever else is in the archive.
        return {"SEGLOOP_ARCHIVE__FILTER": json.dumps({"PatientID": f"{PATIENT_PREFIX}{options.seed}-*"}), **viewer}
    return {"SEGLOOP_ARCHIVE__LABELS_DIR": str((run / "labels").absolute()), **viewer}


def _new_folder(folder: Path) -> Path:
    """A new folder for each run, so that labels of earlier runs stay."""
    number = 1
    while (folder / f"run-{number}").exists():
        number += 1
    run = folder / f"run-{number}"
    run.mkdir(parents=True)
    return run


def _game(client: Client, truth_of: Callable[[str], Truth | None], options: DemoOptions) -> Game:
    """Choose models and a strategy from what the server offers. Raises `Refused`."""
    info = client.info()
    names = tuple(name for name in map(str, info["labels"]) if name in STRUCTURES)
    if not names:
        raise Refused(f"the server wants {info['labels']} labelled; phantoms have {STRUCTURES}")
    automatic = _model(info, "segmentation")
    strategies = info["strategies"]
    strategy = next(name for name in (f"{automatic}_entropy", "entropy", *strategies) if name in strategies)
    annotator = Annotator(
        client=client,
        truth_of=truth_of,
        names=names,
        click_model=_model(info, "deepgrow"),
        auto_model=automatic,
        strategy=strategy,
    )
    return Game(annotator, held_out(options.held_out, options.seed), options.rounds, options.cases)


def _model(info: Mapping[str, Any], kind: str) -> str:
    """The first 3D model of a kind, preferably one with a trainer."""
    models: dict[str, dict[str, Any]] = info["models"]
    fit = [name for name, model in models.items() if model["type"] == kind and model["dimension"] == 3]
    if not fit:
        raise Refused(f"the server has no 3D model of type {kind}, which the demo needs")
    return next((name for name in fit if name in info["trainers"]), fit[0]) if kind == "segmentation" else fit[0]


def _draw(rounds: list[Round], names: tuple[str, ...], file: Path, narrator: Narrator) -> None:
    try:
        draw(rounds, names, file)
    except ImportError:
        narrator.say("no picture: matplotlib isn't installed (pip install segloop[demo])")
        return
    narrator.say(f"picture: {file}")


def _serve_on(server: Server, narrator: Narrator) -> int:
    narrator.say(
        f"""
The server goes on. The cases that are left can be labelled in a viewer:
  3D Slicer   module MONAI Label, server {server.address}, then "Next Sample"
  OHIF        MONAI Label extension, server {server.address}/
  browser     {server.address}/
Ctrl-C stops it."""
    )
    with suppress(KeyboardInterrupt):
        server.wait()
        raise ServerFailed("the server ended on its own")
    return 0
