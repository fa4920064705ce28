"""Many runs in several processes, one thread each; what is done stays done when they are interrupted."""

from __future__ import annotations

import csv
import multiprocessing
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from app.errors import BadFile
from app.simulation.learning.cases import Source
from app.simulation.learning.replay import Round, replay
from app.simulation.learning.scenarios import Scenario

Run = tuple[str, int]
"""A strategy and a seed."""

_COLUMNS = ("strategy", "seed", "number", "labels", "patients", "effort", "dice")
_LAST = ("shared", "selection_seconds", "training_seconds")
_STRUCTURE = "dice of "


def simulate(scenario: Scenario, source: Source, runs: Iterable[Run], processes: int) -> Iterator[Sequence[Round]]:
    """Each run, as soon as it is done. Raises what `replay` and `Source.split` raise."""
    # Spawned: a forked process would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as executor:
        waiting = [executor.submit(_run, scenario, source, strategy, seed) for strategy, seed in runs]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for one in waiting:
                one.cancel()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _run(scenario: Scenario, source: Source, strategy: str, seed: int) -> list[Round]:
    with tempfile.TemporaryDirectory(prefix="segloop-simulation-") as folder:
        return list(replay(scenario, source.split(seed), strategy, seed, Path(folder)))


def append_csv(rounds: Sequence[Round], file: Path) -> None:
    """Add a row for each round. Raises `BadFile` if the file is about other structures."""
    new = not file.exists()
    structures = sorted({name for one in rounds for name in one.by_structure})
    columns = [*_COLUMNS, *(_STRUCTURE + name for name in structures), *_LAST]
    if not new:
        columns = _header(file)
        if missing := [name for name in structures if _STRUCTURE + name not in columns]:
            raise BadFile(f"{file} has no column for {', '.join(missing)}; simulate into another folder")
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        if new:
            writer.writeheader()
        writer.writerows(_row(one) for one in rounds)


def read_csv(file: Path) -> list[Round]:
    """The rounds in a file that `append_csv` wrote; none if there is no such file. Raises `BadFile`."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        try:
            return [_round(row) for row in csv.DictReader(stream)]
        except (KeyError, ValueError, TypeError) as error:
            raise BadFile(f"{file} isn't a table of simulated rounds: {error!r}") from error


def _header(file: Path) -> list[str]:
    with file.open(newline="") as stream:
        return next(csv.reader(stream), [])


def _row(one: Round) -> Mapping[str, object]:
    values = {name: getattr(one, name) for name in (*_COLUMNS, *_LAST)}
    return {**values, "shared": int(one.shared), **{_STRUCTURE + name: dice for name, dice in one.by_structure.items()}}


def _round(row: Mapping[str, str]) -> Round:
    by_structure = {
        name.removeprefix(_STRUCTURE): float(value)
        for name, value in row.items()
        if name.startswith(_STRUCTURE) and value != ""
    }
    return Round(
        strategy=row["strategy"],
        seed=int(row["seed"]),
        number=int(row["number"]),
        labels=int(row["labels"]),
        patients=int(row["patients"]),
        effort=int(row["effort"]),
        dice=float(row["dice"]),
        by_structure=by_structure,
        shared=row["shared"] == "1",
        selection_seconds=float(row["selection_seconds"]),
        training_seconds=float(row["training_seconds"]),
    )
