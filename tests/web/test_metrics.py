"""Figures for Prometheus, read back by its own parser."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.archives.memory import MemoryArchive
from app.core.volume import Volume
from app.main import create_app
from app.settings import Settings
from tests.learning import phantoms

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    archive = MemoryArchive()
    for seed in range(3):
        voxels, _ = phantoms.voxels(seed)
        archive.add_volume(f"secret-{seed}", Volume(voxels, phantoms.geometry()), patient_id="Doe^Jane")
    settings = Settings(workspace=tmp_path, models={"fake": {"type": "fake"}}, learning={"train_after": 0})
    with TestClient(create_app(settings, archive), base_url="http://127.0.0.1") as client:
        yield client


def read(client: TestClient) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_requests_are_counted_by_dialect_route_and_status_and_never_by_what_was_sent(client: TestClient) -> None:
    assert client.get("/info/").status_code == 200
    assert client.get("/api/v1/cases/secret-1").status_code == 200
    assert client.get("/api/v1/cases/secret-1").status_code == 200
    assert client.get("/api/v1/cases/nobody").status_code == 404
    assert client.get("/nowhere/at/all").status_code == 404
    samples = read(client)

    def count(dialect: str, route: str, status: str) -> float:
        labels = {"dialect": dialect, "route": route, "method": "GET", "status": status}
        assert value(samples, "segloop_request_seconds_bucket", **labels, le="+Inf") == value(
            samples, "segloop_request_seconds_count", **labels
        )
        return value(samples, "segloop_request_seconds_count", **labels)

    assert count("monailabel", "/info/", "200") == 1
    assert count("api", "/api/v1/cases/{case_id}", "200") == 2
    assert count("api", "/api/v1/cases/{case_id}", "404") == 1
    assert count("none", "none", "404") == 1
    text = client.get("/metrics").text
    assert not any(word in text for word in ("secret", "nobody", "nowhere", "Doe"))


def test_the_state_of_the_server(client: TestClient) -> None:
    client.post("/api/v1/next", json={"strategy": "first"})
    client.post("/api/v1/sessions", json={"case_id": "secret-0", "model": "fake"})
    samples = read(client)
    assert value(samples, "segloop_cases_waiting") == 3
    assert value(samples, "segloop_cases_held") == 1
    assert value(samples, "segloop_device_waiting") == 0
    assert value(samples, "segloop_sessions_open") == 1
    assert value(samples, "segloop_sessions_bytes") > 0
    assert value(samples, "segloop_outbox_labels", state="waiting") == 0
    assert value(samples, "segloop_outbox_oldest_seconds") == 0
    assert value(samples, "segloop_archive_reachable") == 1
    assert value(samples, "segloop_jobs", kind="train", state="running") == 0
    assert value(samples, "segloop_disk_free_bytes") > 0
    assert not any(math.isnan(one) for one in samples.values())


def test_figures_need_the_token(tmp_path: Path) -> None:
    app = create_app(Settings(workspace=tmp_path, models={}), MemoryArchive(), token="a-token-of-24-characters")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/metrics").status_code == 401
        allowed = client.get("/metrics", headers={"Authorization": "Bearer a-token-of-24-characters"})
        assert allowed.status_code == 200


def test_the_dashboard_and_the_guide_name_only_figures_that_exist(client: TestClient) -> None:
    client.get("/info/")
    names = {name for name, _ in read(client)}
    root = Path(__file__).parents[2]
    for file in (root / "configs" / "grafana.json", root / "docs" / "monitoring.md"):
        named = set(re.findall(r"\b(?:segloop|process)_[a-z_]+[a-z]\b", file.read_text()))
        assert len(named) >= 10
        assert {one for one in named if one not in names and f"{one}_count" not in names} == set(), file.name
    panels = json.loads((root / "configs" / "grafana.json").read_text())["panels"]
    assert all(target["expr"] for panel in panels for target in panel["targets"])
