"""Fine-tuning the starter model on a structure that it does badly: `python -m bench.fine_tuning`.

Long tubes are labelled in a quarter of the patients, and the model is trained by the job that a server runs. Then
the tubes and other structures, of which nothing was labelled, are clicked through in the other patients, by the base
and by the trained version, with the robot user and the session of clients. Each split is another draw of patients.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.core.label import Submission
from app.core.mask import Mask, dice
from app.core.robot import Robot
from app.core.volume import Geometry, Volume
from app.learning.control import Control
from app.learning.gate import Interval, interval
from app.learning.training import train
from app.models.device import Device
from app.models.nninteractive.model import NnInteractive
from app.project.label_commit import commit_label
from app.project.project import Project
from app.settings import Settings
from bench.starter_model.phantoms import held_out_kinds

MODEL = "nninteractive"
TRAINED, OTHERS = "long tube", ("superquadric", "union")
CLICKS = (1, 3, 5)
SHARE = 0.25

Scores = dict[str, NDArray[np.float64]]
"""By kind, Dice `(patient, after one, three, five clicks)`."""


class Pool:
    """Phantoms, each of a patient of its own: `patients` with a tube and as many of each other kind."""

    def __init__(self, patients: int, size: int, seed: int) -> None:
        kinds = {kind.name: kind for kind in held_out_kinds(size)}
        self.cases: dict[str, list[tuple[Volume, NDArray[np.bool_]]]] = {}
        for place, name in enumerate((TRAINED, *OTHERS)):
            for number in range(patients):
                phantom = kinds[name].make(np.random.default_rng([seed, place, number]))
                volume = Volume(phantom.image, Geometry(phantom.image.shape, np.eye(4)))  # type: ignore[arg-type]
                self.cases.setdefault(name, []).append((volume, phantom.labels == 1))

    def split(self, number: int) -> tuple[list[int], dict[str, list[int]]]:
        """Tubes to label, and of each kind the cases to measure on."""
        order = np.random.default_rng(number).permutation(len(self.cases[TRAINED])).tolist()
        few = max(2, round(SHARE * len(order)))
        return order[:few], {TRAINED: order[few:], **dict.fromkeys(OTHERS, order)}


def clicked_through(model: NnInteractive, pool: Pool, which: Mapping[str, list[int]]) -> Scores:
    scores: Scores = {}
    for name, numbers in which.items():
        rows = []
        for number in numbers:
            volume, truth = pool.cases[name][number]
            session = model.open(volume, {})
            values = []
            for _ in range(max(CLICKS)):
                prompt = Robot().next_prompt(truth, session.mask > 0)
                if prompt is not None:
                    session.add(prompt)
                values.append(dice(session.mask > 0, truth) or 0.0)
            session.close()
            rows.append([values[count - 1] for count in CLICKS])
        scores[name] = np.array(rows)
    return scores


def trained(pool: Pool, few: list[int], folder: Path, given: argparse.Namespace, weights: str) -> tuple[Project, float]:
    """A project that has trained once from `few` tubes, and the seconds that took."""
    archive = MemoryArchive()
    for number in few:
        archive.add_volume(f"case-{number}", pool.cases[TRAINED][number][0], patient_id=f"patient-{number}")
    options = {"weights": weights, "steps_per_epoch": given.steps}
    settings = Settings(
        workspace=folder,
        device=given.device,
        labels={"structures": ["tube"]},
        models={MODEL: {"type": MODEL, "trainer": MODEL, "source": given.source, "options": options}},
    )
    project = Project.open(settings, archive)
    project.catalog.cases.apply(archive.list(None), "cursor")
    for number in few:
        volume, truth = pool.cases[TRAINED][number]
        mask = Mask.single(truth.astype(np.uint8), ["tube"], volume.geometry)
        commit_label(
            project, project.catalog.cases.get(f"case-{number}"), mask, Submission("bench", "bench"), f"{number}"
        )
    job = project.catalog.jobs.add("train", MODEL, {"max_epochs": given.epochs})
    project.catalog.jobs.started(job.id, 1, 0.0)
    start = time.monotonic()
    train(project, job, Control(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0))
    return project, time.monotonic() - start


def table(splits: Mapping[str, list[Scores]], base: list[Scores], seconds: Mapping[str, list[float]]) -> str:
    """One row for each way of training and kind; differences are means over a split's patients, paired by split."""
    lines = [
        "| weights | kind | after | base | trained | difference, 90 % over splits | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for weights, scores in splits.items():
        for name in (TRAINED, *OTHERS):
            for column, count in enumerate(CLICKS):
                pairs = [
                    (a[name][:, column].mean(), b[name][:, column].mean()) for a, b in zip(base, scores, strict=True)
                ]
                before, after = np.array(pairs).T
                found: Interval = interval((after - before)[:, None])
                took = f"{np.median(seconds[weights]):.0f}"
                lines.append(
                    f"| {weights} | {name} | {count} | {before.mean():.3f} | {after.mean():.3f} | {found} | {took} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=24, help="of each kind")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="of an epoch")
    parser.add_argument("--size", type=int, default=96, help="voxels along each axis")
    parser.add_argument("--source", default="starter")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", nargs="+", default=["affine", "all"])
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    pool = Pool(given.patients, given.size, given.seed)
    device = Device(given.device)
    base: list[Scores] = []
    after: dict[str, list[Scores]] = {weights: [] for weights in given.weights}
    seconds: dict[str, list[float]] = {weights: [] for weights in given.weights}
    for number in range(given.splits):
        few, which = pool.split(number)
        for weights in given.weights:
            with tempfile.TemporaryDirectory(prefix="segloop-bench-") as folder:
                project, took = trained(pool, few, Path(folder), given, weights)
                store = project.paths.models / MODEL
                if len(base) == number:
                    base.append(clicked_through(NnInteractive("base", store / "1", device), pool, which))
                after[weights].append(clicked_through(NnInteractive("new", store / "2", device), pool, which))
                seconds[weights].append(took)
                project.close()
        print(table({w: s for w, s in after.items() if s}, base, seconds), flush=True)
    device.shutdown()


if __name__ == "__main__":
    main()
