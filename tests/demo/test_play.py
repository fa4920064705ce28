"""The demo from one end to the other, against a real server in a process of its own."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from rich.console import Console

from app.demo.annotator import Annotator
from app.demo.client import Client, Refused
from app.demo.phantoms import read_truth, write_studies
from app.demo.play import DemoOptions, play
from app.demo.server import Launch, ServerFailed, running
from app.distribution import shipped_configs
from app.settings import load

FAKES = """
labels: {structures: [liver, spleen]}
models:
  clicks: {type: fake}
  guess: {type: fake_automatic}
learning: {train_after: 0}
"""


@pytest.fixture
def config(tmp_path) -> Path:
    file = tmp_path / "fakes.yaml"
    file.write_text(FAKES)
    return file


def _options(folder: Path, config: Path, **values) -> DemoOptions:
    small = {"patients": 2, "rounds": 1, "cases": 2, "held_out": 1, "once": True}
    console = Console(file=io.StringIO(), width=160)
    return DemoOptions(folder=folder, config=config, console=console, **{**small, **values})


def _said(options: DemoOptions) -> str:
    return options.console.file.getvalue()


def test_a_demo_labels_its_cases_and_reports(tmp_path, config):
    options = _options(tmp_path / "demo", config)
    assert play(options) == 0, _said(options)
    said = _said(options)
    assert "What the annotator did" in said
    assert "6-001" in said
    assert "6-002" in said
    assert "random; a new patient" in said.replace("\n", " ")
    run = tmp_path / "demo" / "run-1"
    assert (tmp_path / "demo" / "report.png").stat().st_size > 20_000
    labels = [pydicom.dcmread(file, stop_before_pixels=True) for file in (run / "labels").rglob("*.dcm")]
    assert {label.Modality for label in labels} == {"SEG"}
    truths = {file.stem for file in (tmp_path / "demo" / "truth").glob("*.npz")}
    assert {label.ReferencedSeriesSequence[0].SeriesInstanceUID for label in labels} <= truths
    assert len(labels) == 2


def test_a_server_that_cannot_start_is_a_failure_with_its_words(tmp_path, config):
    config.write_text("no_such_setting: 1\n")
    options = _options(tmp_path / "demo", config)
    assert play(options) == 1
    assert "no_such_setting" in _said(options)


def test_an_archive_elsewhere_needs_a_yes_before_anything_is_written(tmp_path, config):
    options = _options(tmp_path / "demo", config, archive="https://pacs.example/dicom-web")
    assert play(options) == 2
    assert "--yes" in _said(options)
    assert not (tmp_path / "demo").exists()


def test_the_annotator_refuses_a_case_whose_truth_nobody_knows(tmp_path, config):
    write_studies(tmp_path / "studies", tmp_path / "truth", 1, seed=3)
    launch = Launch(
        config=config,
        studies=str(tmp_path / "studies"),
        workspace=tmp_path / "workspace",
        log=tmp_path / "server.txt",
        settings={"SEGLOOP_ARCHIVE__LABELS_DIR": str(tmp_path / "labels")},
    )
    with running(launch) as server:
        client = Client(server.address, "tester")
        client.wait_for_cases(1, 30)
        stranger = Annotator(client, lambda _: None, ("liver",), "clicks", "guess", "first")
        with pytest.raises(Refused, match="no phantom"):
            stranger.play(lambda _: None)
        knowing = Annotator(
            client, lambda case: read_truth(tmp_path / "truth", case), ("liver",), "clicks", "guess", "first"
        )
        played = knowing.play(lambda _: None)
        assert played is not None
        assert played.clicks == 6  # the fake's cubes never fill a liver
        assert 0 < played.after < 0.5
        assert knowing.play(lambda _: None) is None
    assert server.process.returncode is not None


def test_a_server_that_ends_at_once_is_not_waited_for(tmp_path):
    launch = Launch(tmp_path / "missing.yaml", str(tmp_path), tmp_path / "workspace", tmp_path / "server.txt")
    with pytest.raises(ServerFailed, match=r"ended with [1-9](.|\n)*missing\.yaml"), running(launch):
        pass


def test_the_shipped_configuration_suits_the_demo():
    settings, _ = load(shipped_configs() / "demo.yaml", {})
    assert {"liver", "spleen"} <= set(settings.labels.structures)
    assert settings.learning.train_after == 0
