"""What an installation brings: dependencies in tested ranges, the shipped configurations, and what they cost."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, version
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from app import distribution
from app.cli import cli, packages
from app.errors import ConfigurationError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower(): number for name, number in pinned}


@pytest.mark.parametrize("line", PROJECT["dependencies"])
def test_dependency_has_a_range_that_the_tested_version_is_in(line: str) -> None:
    dependency = Requirement(line)
    assert {">=", "<"} <= {one.operator for one in dependency.specifier}, "an unpinned install is to work next year too"
    tested = pins().get(dependency.name.lower())
    if tested is not None:
        assert tested in dependency.specifier


def test_what_the_dependencies_say_is_what_is_installed_here() -> None:
    wrong = [one.name for one in map(Requirement, PROJECT["dependencies"]) if version(one.name) not in one.specifier]
    assert not wrong


def test_command_line_says_its_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"segloop {PROJECT['version']}\n"


def test_shipped_configurations_are_found_wherever_the_wheel_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert distribution.shipped_configs() == ROOT / "configs"
    # As of `pip install --user`: not below sys.prefix, and the code isn't in a checkout.
    site = tmp_path / "user" / "lib" / "python3" / "site-packages"
    record = site / "segloop-0.1.0.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    record.write_text("app/__init__.py,,\n../../../share/segloop/configs/demo.yaml,,\n")
    configs = tmp_path / "user" / "share" / "segloop" / "configs"
    configs.mkdir(parents=True)
    (configs / "demo.yaml").touch()
    monkeypatch.setattr(distribution, "__file__", str(site / "app" / "distribution.py"))
    monkeypatch.setattr(distribution, "distribution", lambda _: Distribution.at(record.parent))
    assert distribution.shipped_configs() == configs
    record.write_text("")
    with pytest.raises(ConfigurationError, match="from its wheel"):
        distribution.shipped_configs()


def test_doctor_says_what_is_large() -> None:
    assert re.match(r"\d\.\d\d GB in \d+ packages; the largest: torch \d\.\d\d GB, ", packages.installed())


def test_doctor_says_what_cuda_costs_where_no_card_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert packages.torch_build() == f"{torch.__version__}, without CUDA"
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert packages.torch_build() == f"{torch.__version__}, for CUDA 13.0"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sizes = {"nvidia-cudnn-cu13": 700_000_000, "triton": 300_000_000, "numpy": 60_000_000}
    monkeypatch.setattr(packages, "package_sizes", lambda: sizes)
    assert "no graphics card is found; its CUDA packages take 1.00 GB." in packages.torch_build()
