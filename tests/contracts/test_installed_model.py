"""A model type of another installed package: the settings know it, it is served, and the contract tests ask it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.archives.memory import MemoryArchive
from app.errors import ConfigurationError
from app.models.registry import MODEL_TYPES
from app.settings import ModelSettings, Settings, load
from tests.contracts.installed import install
from tests.live import application
from tests.models.volumes import ball_volume

SHAPE = (12, 14, 16)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "packages").mkdir()
    folder = install(tmp_path / "packages")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(vars(MODEL_TYPES), "_points", raising=False)  # looked for once per process
    yield folder
    sys.modules.pop("cross_models", None)
    vars(MODEL_TYPES).pop("_points", None)


def test_settings_know_it_without_importing_it(installed: Path) -> None:
    assert Settings(models={"crosses": ModelSettings(type="cross")}).models["crosses"].type == "cross"
    assert "cross_models" not in sys.modules
    with pytest.raises(ConfigurationError, match=r"models.x.type.*no model type 'crass'.*bundle, cross, deepedit"):
        load(None, {"models.x.type": "crass"})


def test_it_is_found_and_a_broken_one_harms_nobody(installed: Path) -> None:
    found = MODEL_TYPES.find()
    assert found.found["cross"].kind == "interactive"
    assert {"fake", "nninteractive"} < set(found.found)
    (broken,) = found.broken
    assert broken.name == "ruin"
    assert "Traceback" in broken.problem
    assert "cross_models_that_are_gone" in broken.reason
    with pytest.raises(ConfigurationError, match=r"ruin can't be used.*cross_models_that_are_gone"):
        MODEL_TYPES.get("ruin")


def test_it_serves_a_click(installed: Path, tmp_path: Path) -> None:
    archive = MemoryArchive()
    archive.add_volume("ball", ball_volume(SHAPE, (6, 7, 8), 4))
    models = {"crosses": ModelSettings(type="cross")}
    app = application(tmp_path / "workspace", models, archive)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        app.state.services.sync.run()
        opened = client.post("/api/v1/sessions", json={"case_id": "ball", "model": "crosses"}).json()
        clicked = client.post(
            f"/api/v1/sessions/{opened['id']}/prompts", json={"prompts": [{"type": "point", "at": [5, 6, 7]}]}
        )
        assert clicked.status_code == 200
        answer = client.get(f"/api/v1/sessions/{opened['id']}/mask")
    mask = np.frombuffer(answer.content, np.uint8).reshape(SHAPE)
    expected = np.zeros(SHAPE, np.uint8)
    expected[:, 6, 7] = expected[5, :, 7] = expected[5, 6, :] = 1
    np.testing.assert_array_equal(mask, expected)


def test_the_contract_tests_pick_it_up(tmp_path: Path) -> None:
    folder = install(tmp_path)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "[cross",
         "tests/contracts/test_models.py", "tests/contracts/test_session_state.py"],
        cwd=root, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(done.stdout.strip().splitlines()[-1].split(" passed")[0].split()[-1])
    assert passed > 20, done.stdout
