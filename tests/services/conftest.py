"""The services over a workspace that outlives them, with the models of `tests.services.two_models`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

from app.archives.memory import MemoryArchive
from app.models.trained.deepgrow import _Predict
from app.services import Services
from app.settings import ModelSettings, Settings
from tests.dicom.synthetic import ct_series
from tests.models.folders import tiny_nninteractive
from tests.services.two_models import SHAPE, Opener, publish


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny_nninteractive(tmp_path / "tiny")


@pytest.fixture
def start_two(tmp_path: Path, weights: Path) -> Iterator[Opener]:
    """Starts the services over the same workspace, after an orderly end of those that run."""
    archive = MemoryArchive([ct_series(SHAPE)[0]])
    running: list[Services] = []

    def start() -> Services:
        for services in running:
            services.stop()
        running.clear()
        settings = Settings(
            workspace=tmp_path / "workspace",
            device="cpu",
            models={
                "grower": ModelSettings(type="deepgrow_3d"),
                "tiny": ModelSettings(type="nninteractive", source=str(weights)),
            },
            labels={"structures": ["liver"]},  # type: ignore[arg-type]
        )
        services = Services.open(settings, archive)
        services.sync.run()
        if services.models.version("grower") == "":
            publish(services, 1)
        running.append(services)
        return services

    yield start
    for services in running:
        services.stop()


@pytest.fixture
def predictions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one with each prediction of either model."""
    seen: list[str] = []

    def counting(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            seen.append(kind.__name__)
            return original(*arguments, **options)

        monkeypatch.setattr(kind, name, counted)

    counting(nnInteractiveInferenceSession, "_predict")
    counting(_Predict, "__call__")
    return seen
