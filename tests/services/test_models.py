"""The model that clicks go to is loaded before somebody clicks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.archives.memory import MemoryArchive
from app.models.fake import FakeInteractive
from app.services import Services
from app.settings import ModelSettings, Settings


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    models = {"grower": ModelSettings(type="deepgrow_3d"), "clicks": ModelSettings(type="fake")}
    opened = Services.open(Settings(workspace=tmp_path, models=models, device="cpu"), MemoryArchive())
    yield opened
    opened.stop()


def test_it_has_predicted_once_and_no_session_is_left(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    masks, opened_by = [], []
    original = FakeInteractive.open

    def opening(model, volume, options):
        session = original(model, volume, options)
        masks.append(session.mask)
        opened_by.append(threading.current_thread())
        return session

    monkeypatch.setattr(FakeInteractive, "open", opening)
    monkeypatch.setattr(services.models, "default_interactive", lambda: "clicks")
    services.models.warm_up()
    assert [int(mask.sum()) for mask in masks] == [125]
    # A request that opens a session at the same time holds the model's lock while it waits for the device.
    assert opened_by == [threading.current_thread()]
    assert services.prompting.memory == (0, 0)


def test_one_that_is_not_trained_yet_is_left_alone(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    assert services.models.default_interactive() == "grower"
    with caplog.at_level(logging.WARNING):
        services.models.warm_up()
    assert caplog.records == []


def test_a_model_that_fails_does_not_stop_the_server(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no memory for weights")

    monkeypatch.setattr(FakeInteractive, "open", broken)
    monkeypatch.setattr(services.models, "default_interactive", lambda: "clicks")
    services.models.warm_up()
    assert "the model clicks could not be warmed up" in caplog.text
