"""Whole simulations: on a session whose answers are known, on a model, and over HTTP through the official client."""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from app.cli import cli
from app.core.prompt import Box, Point, Prompt, Region
from app.core.robot import Robot
from app.core.volume import Geometry, Volume
from app.errors import BadPrompt, Unavailable
from app.formats.volume_files import write_nifti
from app.models.device import Device
from app.models.fake import FakeInteractive
from app.settings import ModelSettings
from app.simulation.cases import Case
from app.simulation.prompted import ModelTarget, Prompted, ServerTarget
from app.simulation.run import Protocol, Step, simulate
from app.simulation.summary import summarise
from tests.live import serving
from tests.models.folders import clicked_nninteractive
from tests.models.volumes import ball_volume

SHAPE = (12, 14, 16)
VALUES = np.zeros(SHAPE, np.int64)
VALUES[2:10, 2:10, 2:6] = 1
VALUES[2:10, 2:10, 8:16] = 2


class Slabs:
    """Answers each point with the slab of one voxel that it lies in, and a box with nothing."""

    def __init__(self) -> None:
        self.mask = np.zeros(SHAPE, bool)
        self.given: list[Prompt] = []

    @contextmanager
    def open(self, volume: Volume) -> Iterator[Prompted]:
        yield self

    def add(self, prompt: Prompt) -> NDArray[np.bool_]:
        self.given.append(prompt)
        if isinstance(prompt, Point):
            if prompt.at[2] > 13:
                raise BadPrompt("too far out")
            self.mask[2:10, 2:10, prompt.at[2]] = prompt.include
        return self.mask

    def reset(self) -> None:
        self.mask[:] = False


def case() -> Case:
    return Case("slabs", Volume(VALUES.astype(np.int16), Geometry(SHAPE, np.eye(4))), VALUES)


def test_every_structure_is_clicked_until_nothing_is_wrong() -> None:
    target = Slabs()
    steps = list(simulate([case()], target, Robot(), Protocol(clicks=6, box=True, min_voxels=10)))
    first = [step for step in steps if step.structure == 1]
    assert [step.number for step in first] == list(range(7))
    assert [step.prompt for step in first] == ["box", *["point"] * 4, "none", "none"]
    assert [round(step.dice, 3) for step in first] == [0, 0.4, 0.667, 0.857, 1, 1, 1]
    assert first[-1].seconds == 0
    assert target.given[0] == Box(Region((6, 2, 2), (7, 10, 6)))
    assert [step.structure for step in steps if step.number == 0] == [1, 2]


def test_a_prompt_that_is_refused_is_counted_and_the_rest_goes_on() -> None:
    steps = list(simulate([case()], Slabs(), Robot(), Protocol(clicks=9, min_voxels=10)))
    summary = summarise(steps)
    refused = [step for step in steps if step.error]
    assert summary.errors == len(refused) > 0
    assert refused[0].error == "BadPrompt: too far out"
    assert len(steps) == 18


def step(structure: int, number: int, score: float, case: str = "a", seconds: float = 1.0) -> Step:
    return Step(case, structure, number, "point", True, "", score, score / 2, seconds)


def test_the_summary_is_the_challenges() -> None:
    curves = {1: [0.2, 0.5, 0.9, 0.8, 0.8], 2: [0.1, 0.1, 0.2, 0.3, 0.4]}
    steps = [step(s, n, score) for s, curve in curves.items() for n, score in enumerate(curve, start=1)]
    steps += [step(7, n, 1.0, "b", seconds=3.0) for n in range(1, 6)]
    summary = summarise(steps)
    assert summary.structures == 3
    assert summary.dice[1] == pytest.approx((0.2 + 0.1 + 1) / 3)
    assert summary.reached[2] == pytest.approx(1 / 3)
    assert summary.reached[3] == summary.reached[5] == pytest.approx(2 / 3)
    of_a = [0.15, 0.3, 0.55, 0.55, 0.6]
    assert summary.dice_area == pytest.approx((np.trapezoid(of_a) + 4) / 2)
    assert summary.surface_area == pytest.approx((np.trapezoid([0, *(x / 2 for x in of_a[1:])]) + 2) / 2)
    assert summary.final_dice == pytest.approx((0.6 + 1) / 2)
    assert summary.seconds.median == 1.0
    assert summary.seconds.longest == 3.0


def test_a_model_in_this_process() -> None:
    volume = ball_volume()
    truth = np.zeros(volume.geometry.shape, np.int64)
    truth[9:14, 11:16, 15:20] = 1
    device = Device("cpu", threads=1)
    target = ModelTarget(FakeInteractive(), device)
    steps = list(simulate([Case("ball", volume, truth)], target, Robot(), Protocol(clicks=2, min_voxels=1)))
    device.shutdown()
    assert steps[0].dice > 0.4
    assert all(step.seconds > 0 for step in steps if step.prompt != "none")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    volume = ball_volume()
    truth = np.zeros(volume.geometry.shape, np.int16)
    truth[9:14, 11:16, 15:20] = 4
    write_nifti(folder / "image.nii.gz", volume, compress=True)
    write_nifti(folder / "truth.nii.gz", Volume(truth, volume.geometry), compress=True)
    return folder


def test_the_command_writes_a_row_for_each_click_and_a_picture(files: Path, tmp_path: Path) -> None:
    (tmp_path / "fake.yaml").write_text("models:\n  fake: {type: fake}\n")
    arguments = ["simulate", "clicks", str(files / "image.nii.gz"), str(files / "truth.nii.gz"), "--clicks", "3"]
    arguments += ["--min-voxels", "9", "--csv", str(tmp_path / "a.csv"), "--picture", str(tmp_path / "a.png")]
    arguments += [
        "--config",
        str(tmp_path / "fake.yaml"),
        "--workspace",
        str(tmp_path / "workspace"),
        "--model",
        "fake",
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "mean surface Dice" in result.output
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["structure"] == "4"
    assert 0 < float(rows[0]["dice"]) <= 1
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("style", "plane"), [("points", "axial"), ("scribbles", "sagittal"), ("lassos", "coronal")])
def test_over_http_it_is_the_same_as_in_this_process(
    files: Path, tmp_path: Path, style: str, plane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cli.simulate import user
    from app.models.nninteractive.model import NnInteractive
    from app.simulation.cases import read_cases

    monkeypatch.setattr("app.models.device.choose", lambda choice, device: "fp32")
    weights = clicked_nninteractive(tmp_path / "model", patch=32)
    robot, protocol = user(style, plane, 1, 3), Protocol(clicks=3, box=True, min_voxels=9)
    places = files / "image.nii.gz", files / "truth.nii.gz"
    models = {"nninteractive": ModelSettings(type="nninteractive", source=str(weights))}
    with serving(tmp_path / "workspace", models) as live:
        served = list(simulate(read_cases(*places), ServerTarget(live.url), robot, protocol))
    device = Device("cpu", threads=1)
    target = ModelTarget(NnInteractive("n", weights, device), device)
    own = list(simulate(read_cases(*places), target, robot, protocol))
    device.shutdown()
    assert [(s.prompt, s.at, s.dice, s.error) for s in served] == [(s.prompt, s.at, s.dice, s.error) for s in own]
    assert (served[-1].dice > 0) == (style == "points")  # all that this network sees
    assert not any(s.error for s in served)


def test_a_server_that_is_not_there_is_named(files: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"the server at {url} can't be reached"):
            list(
                simulate(
                    [Case("ball", ball_volume(), np.ones(ball_volume().geometry.shape, np.int64))],
                    ServerTarget(url),
                    Robot(),
                    Protocol(clicks=1),
                )
            )
