"""What `segloop models list` shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli.models import show
from app.core.model import ModelVersion
from app.project.project import Project
from tests.learning import phantoms

METRICS = ({"best_metric": 0.8123, "dice": {"bright": 0.9, "dark": 0.7246}}, {"dice": {}})


def version(number: int) -> ModelVersion:
    """Versions 1 and 2, the second one without validation cases."""
    return ModelVersion(
        f"segmentation-{number}", "segmentation", number, "", f"segmentation/{number}", "", "rejected", "a reason",
        METRICS[number - 1], (), "", "", 0.0,
    )  # fmt: skip


def test_versions_are_shown_with_their_mean_dice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    settings = phantoms.settings(tmp_path)
    project = Project.open(settings, phantoms.archive(0))
    for number in (1, 2):
        project.catalog.versions.add(version(number), serve=False, who="ann")
    project.close()
    show(settings)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "segmentation-" in line]
    assert [("0.812" in row, "a" in row) for row in rows] == [(False, True), (True, True)]
