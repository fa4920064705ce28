"""What the container is built of, without building it: what is sent to the build, and the wheel that comes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "strategies", "trainers")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `.dockerignore` lets into the build; it shuts everything out first."""
    folder = tmp_path_factory.mktemp("context")
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert rules[-1] == "**/__pycache__"
    for rule in rules[1:-1]:
        assert rule.startswith("!"), rule
        for source in ROOT.glob(rule[1:]):
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
    return folder


@pytest.fixture(scope="module")
def site(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel made of the context, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=context, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if "__pycache__" not in path.parts}


def test_nothing_private_is_sent_to_the_build(context: Path) -> None:
    sent = {path.name for path in context.iterdir() if path.suffix != ".tgz"}
    assert sent == {*PACKAGES, "configs", "scripts", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"}
    assert files(context / "scripts") == {"install"}


def test_wheel_has_every_file_of_the_packages(site: Path) -> None:
    for package in PACKAGES:
        assert files(site / package) == files(ROOT / package), package
    (data,) = site.glob("*.data/data/share/segloop")
    assert files(data / "configs") == files(ROOT / "configs")
    assert [path.read_bytes() for path in site.glob("*.dist-info/licenses/LICENSE")] == [
        (ROOT / "LICENSE").read_bytes()
    ]


def test_wheel_finds_its_models_strategies_and_trainers_from_elsewhere(site: Path, tmp_path: Path) -> None:
    # -S: Python doesn't read the file that leads an editable installation back to the sources.
    code = f"""
import sys
sys.path.insert(0, {str(site)!r})
sys.path.append({sysconfig.get_path("purelib")!r})
import app.cli
assert app.cli.__file__.startswith({str(site)!r})
app.cli.main()
"""
    (tmp_path / "studies").mkdir()
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, "doctor"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {line.split()[1]: line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("ok ")}
    assert found["models:"].startswith("nninteractive, ")
    assert set(found["strategies:"].split(", ")) == plugins("strategies")
    assert set(found["trainers:"].split(", ")) == plugins("trainers")


def plugins(package: str) -> set[str]:
    return {file.stem for file in (ROOT / package).glob("[!_]*.py")}


def test_image_says_the_version_of_the_project() -> None:
    (version,) = re.findall(r"^ARG VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
