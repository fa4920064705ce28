"""kill -9 right after a label's 200, again and again: nothing acknowledged is lost, nothing half written shows.

Two annotators submit at the same time; the server is killed the moment one of them has an answer, so that the other's
submission dies wherever it happens to be.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import requests

from app.catalog import Catalog
from app.cli.backup import verify
from app.dicom.seg_read import read_seg
from app.formats.nrrd import nrrd_header
from app.settings import Settings
from tests.dicom.synthetic import Truth, ct_series, write_series

pytestmark = pytest.mark.slow

MANY = pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])


@dataclass
class Servers:
    """Starts servers over one workspace, one after the other."""

    process: subprocess.Popen[str]
    pid: int = 0
    url: str = ""

    def start(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("start\n")
        self.process.stdin.flush()
        self.pid, port = map(int, self.process.stdout.readline().split())
        self.url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                requests.get(f"{self.url}/livez", timeout=5)
                return
            except requests.ConnectionError:
                time.sleep(0.01)
        raise TimeoutError("the server doesn't answer")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@dataclass
class Annotator:
    """Submits a new label every time, and remembers those that were acknowledged."""

    name: str
    case_id: str
    seed: int
    truth: Truth
    acknowledged: list[tuple[str, np.ndarray]] = field(default_factory=list)

    def submit(self, url: str) -> bool:
        rng = np.random.default_rng([self.seed, len(self.acknowledged), time.monotonic_ns()])
        mask = rng.integers(0, 3, self.truth.geometry.shape, dtype=np.uint8)
        data = nrrd_header(self.truth.geometry, mask.dtype, "raw") + mask.tobytes()
        params = {"label_info": [{"name": "liver"}, {"name": "spleen"}], "client_id": self.name}
        try:
            answer = requests.put(
                f"{url}/datastore/label",
                params={"image": self.case_id},
                data={"params": json.dumps(params)},
                files={"label": ("label.nrrd", data)},
                timeout=60,
            )
        except requests.RequestException:
            return False
        assert answer.status_code == 200, answer.text
        self.acknowledged.append((hashlib.sha256(data).hexdigest(), mask))
        return True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for number in range(2):
        series, _ = ct_series((6, 20, 24), seed=number)
        write_series(series, tmp_path / "studies" / str(number))
    (tmp_path / "workspace" / "jobs").mkdir(parents=True)
    return Settings(
        studies=str(tmp_path / "studies"),
        workspace=tmp_path / "workspace",
        models={"fake": {"type": "fake"}},  # type: ignore[dict-item]
        labels={"structures": ["liver", "spleen"]},  # type: ignore[arg-type]
    )


@pytest.fixture
def servers(settings: Settings, tmp_path: Path) -> Iterator[Servers]:
    file = tmp_path / "settings.json"
    settings.save_private(file)
    command = [sys.executable, "-m", "tests.faults.forking", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    servers = Servers(process)
    yield servers
    if servers.pid:
        servers.kill()
    process.kill()


def wait_for_cases(url: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if requests.get(f"{url}/datastore/", timeout=5).json()["total"] == count:
            return
        time.sleep(0.05)
    raise TimeoutError("the cases were not found")


@pytest.mark.parametrize("kills", [100, MANY])
def test_no_acknowledged_label_is_lost(servers: Servers, settings: Settings, kills: int) -> None:
    annotators = []
    for number in range(2):
        series, truth = ct_series((6, 20, 24), seed=number)
        annotators.append(Annotator(f"a{number}", str(series[0].SeriesInstanceUID), number, truth))
    servers.start()
    wait_for_cases(servers.url, 2)
    for kill in range(kills):
        first, second = annotators if kill % 2 else annotators[::-1]
        other = threading.Thread(target=second.submit, args=(servers.url,))
        other.start()
        assert first.submit(servers.url)
        servers.kill()
        other.join()
        servers.start()
    catalog = Catalog.open(settings.workspace / "catalog.sqlite")
    acknowledged = sum(len(annotator.acknowledged) for annotator in annotators)
    assert acknowledged >= kills
    for annotator in annotators:
        history = {label.submitted_sha256: label for label in catalog.labels.history(annotator.case_id)}
        numbers = [label.number for label in history.values()]
        assert numbers == list(range(1, len(numbers) + 1))
        for digest, mask in annotator.acknowledged:
            stored = settings.workspace / "labels" / history[digest].path
            assert np.array_equal(read_seg(stored, annotator.truth.geometry).labelmap(), mask)
    assert verify(settings.workspace) >= acknowledged
