"""Readiness: red while nothing could be stored."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.archives.memory import MemoryArchive
from app.main import create_app
from app.settings import Settings
from tests.catalog.baseline import execute


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(Settings(workspace=tmp_path, models={}), MemoryArchive())
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def test_ready_once_models_are_loaded(client: TestClient) -> None:
    services = client.app.state.services  # type: ignore[attr-defined]
    services.warm.wait(30)
    services.warm.clear()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "models are being loaded")
    assert client.get("/healthz").json()["ok"]
    services.warm.set()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_not_ready_when_the_workspace_cannot_be_written(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    assert answer.json()["status"] == "the workspace can't be written to: Read-only file system"
    assert client.get("/livez").status_code == 200


def test_not_ready_when_the_catalog_cannot_be_written(client: TestClient, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.sqlite"
    execute(catalog, "PRAGMA wal_checkpoint(TRUNCATE)")
    catalog.rename(tmp_path / "elsewhere")
    catalog.mkdir()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"].startswith("the catalog can't be written to: ")


def test_what_killed_writers_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    place = tmp_path / "labels" / "case" / "final"
    place.mkdir(parents=True)
    for name, age in ((".writing-old.dcm", 7200), (".writing-new.dcm", 0)):
        (place / name).write_bytes(b"half")
        os.utime(place / name, (time.time() - age, time.time() - age))
    with TestClient(create_app(Settings(workspace=tmp_path, models={}), MemoryArchive())):
        assert [path.name for path in place.iterdir()] == [".writing-new.dcm"]
