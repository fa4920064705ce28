"""Settings: where values come from, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.settings import Settings, load

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGLOOP_TOKEN", raising=False)


def write(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_later_sources_win_and_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "port: 1\nname: Ward 7\narchive: {page_size: 10, username: anna}\n")
    monkeypatch.setenv("SEGLOOP_PORT", "2")
    monkeypatch.setenv("SEGLOOP_ARCHIVE__PAGE_SIZE", "20")
    settings, sources = load(file, {"port": 3})
    assert (settings.port, settings.name) == (3, "Ward 7")
    assert (settings.archive.page_size, settings.archive.username) == (20, "anna")
    assert (settings.archive.connect_timeout, settings.host) == (10.0, "127.0.0.1")
    assert sources == {
        "port": "command line",
        "name": str(file),
        "archive.username": str(file),
        "archive.page_size": "environment",
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot: 1", "prot"),
        ("archive: {pasword: x}", "archive.pasword"),
        ("port: many", "port"),
        ("models: {'a b': {type: fake}}", "spaces"),
        ("models: {a: {type: magic}}", "models.a.type"),
        ("labels: {structures: [background]}", "background"),
        ("- a\n- b", "keys and values"),
        ("a: [", "YAML"),
    ],
)
def test_what_does_not_work_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(write(tmp_path, text), {})


def test_unknown_environment_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGLOOP_PROT", "1")
    with pytest.raises(ConfigurationError, match="SEGLOOP_PROT"):
        load(None, {})


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_shipped_configurations_load(file: Path) -> None:
    settings, _ = load(file, {})
    assert settings.labels.structures == ["liver", "spleen"]


def test_secrets_are_not_shown_but_reach_job_processes_privately(tmp_path: Path) -> None:
    settings = Settings(token="hush", archive={"password": "quiet"})  # type: ignore[arg-type]
    assert "hush" not in repr(settings)
    assert "quiet" not in str(settings.model_dump())
    file = tmp_path / "settings.json"
    settings.save_private(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Settings.read_private(file)
    assert (again.secret_token, again.archive_secrets()[0]) == ("hush", "quiet")


def test_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = Settings(token_file=tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="missing"):
        _ = settings.secret_token


def test_studies_are_an_address_or_a_folder() -> None:
    assert Settings(studies="http://pacs/dicom-web").studies_url == "http://pacs/dicom-web"
    assert Settings(studies="/data/studies").studies_url is None


def test_models_for_itkit_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liver = "{config: /m/liver.py, checkpoint: /m/liver.pth, python: /opt/itkit/bin/python, infer_seconds: 60}"
    monkeypatch.setenv("SEGLOOP_MODEL_DIR", "/from/environment")
    settings, sources = load(write(tmp_path, f"mmengine: {{liver: {liver}}}\n"), {})
    assert settings.model_dir == Path("/from/environment")
    assert sources["model_dir"] == "environment"
    entry = settings.mmengine["liver"]
    assert (entry.python, entry.load_seconds, entry.infer_seconds) == (Path("/opt/itkit/bin/python"), 120, 60)
    with pytest.raises(ConfigurationError, match="checkpoint"):
        load(write(tmp_path, "mmengine: {liver: {config: /m/liver.py, python: python3}}"), {})
