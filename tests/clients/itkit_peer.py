"""ITKIT 4.0.0 itself: its plugin for 3D Slicer and its server, fetched from the package index when tests or benchmarks
run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import requests
import SimpleITK as sitk

from tests.exclusive import exclusive

WHEEL = "itkit==4.0.0"

SERVER_NEEDS = [
    "addict==2.4.0",
    "blinker==1.9.0",
    "click==8.5.1",
    "flask==3.1.3",
    "flask_cors==6.0.5",
    "itsdangerous==2.2.0",
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    "onedl-mmengine==0.10.12",
    "platformdirs==4.14.5",
    "termcolor==3.3.0",
    "tqdm==4.70.1",
    "werkzeug==3.1.9",
    "yapf==0.43.0",
]
"""What the server imports and this project doesn't have; the rest (torch, onnxruntime, SimpleITK) is here already."""

# Its sliding window asks for pinned memory, which there is none of without a graphics card
# (docs/protocols/itkit.md, section 6).
_LAUNCH = """
import sys, torch
empty = torch.empty
torch.empty = lambda *sizes, pin_memory=False, **more: empty(*sizes, **more)
from SlicerITKIT.server import itkit_server
itkit_server.main()
"""


class PeerMissing(RuntimeError):
    """It can't be fetched here."""


def fetched(folder: Path) -> Path:
    """The unpacked wheel; it is fetched once and kept in `folder`. Raises `PeerMissing`."""
    target = folder / WHEEL
    with exclusive(folder):
        if not target.exists():
            _unpack(folder, target)
    return target


def _needs(folder: Path) -> Path:
    """What the server imports, installed once and kept in `folder`. Raises `PeerMissing`."""
    target = folder / "server-needs"
    with exclusive(folder):
        if not target.exists():
            shutil.rmtree(folder / "installing", ignore_errors=True)
            _pip("install", "--no-deps", "--target", str(folder / "installing"), *SERVER_NEEDS)
            (folder / "installing").rename(target)
    return target


def _unpack(folder: Path, target: Path) -> None:
    _pip("download", "--no-deps", "--dest", str(folder), WHEEL)
    unpacked = folder / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    with zipfile.ZipFile(next(folder.glob("itkit-4.0.0-*.whl"))) as wheel:
        wheel.extractall(unpacked)
    unpacked.rename(target)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
        raise PeerMissing(f"ITKIT can't be fetched from the package index: {last}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerMissing("ITKIT can't be fetched from the package index: pip takes too long") from error


@contextmanager
def peer_server(folder: Path) -> Iterator[str]:
    """ITKIT's own server on a free port, fetched into `folder`; its address. Raises `PeerMissing`."""
    wheel, needs = fetched(folder), _needs(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": f"{wheel}{os.pathsep}{needs}"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, "--port", str(port)], env=environment, stdout=log, stderr=log, cwd=folder
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, folder / "server.log")
        yield url
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            requests.get(f"{url}/api/health", timeout=5)
        except requests.ConnectionError:
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.2)
        else:
            return
    raise AssertionError("ITKIT's server doesn't answer")


class Slicer:
    """What the plugin's logic uses of 3D Slicer: nodes are images, and saving and loading them are SimpleITK's."""

    def __init__(self) -> None:
        self.imported: list[sitk.Image] = []

    def modules(self) -> dict[str, ModuleType]:
        slicer, base, util = (ModuleType(name) for name in ("slicer", "slicer.ScriptedLoadableModule", "slicer.util"))
        for kind in ("", "Widget", "Logic", "Test"):
            setattr(base, f"ScriptedLoadableModule{kind}", type(kind, (), {"__init__": lambda self, *rest: None}))
        util.VTKObservationMixin = type("VTKObservationMixin", (), {})  # type: ignore[attr-defined]
        util.saveNode = lambda node, path: sitk.WriteImage(node.image, path)  # type: ignore[attr-defined]
        util.loadLabelVolume = sitk.ReadImage  # type: ignore[attr-defined]
        members: dict[str, Any] = {
            "util": util,
            "ScriptedLoadableModule": base,
            "vtkMRMLSegmentationNode": Segmentation,
            "mrmlScene": SimpleNamespace(AddNewNodeByClass=lambda kind: Segmentation(), RemoveNode=lambda node: None),
            "modules": SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: self)),
        }
        slicer.__dict__.update(members)
        return {
            "slicer": slicer,
            "slicer.ScriptedLoadableModule": base,
            "slicer.util": util,
            "qt": ModuleType("qt"),
            "ctk": ModuleType("ctk"),
        }

    def ImportLabelmapToSegmentationNode(self, labels: sitk.Image, node: Segmentation) -> None:
        node.labels = labels
        self.imported.append(labels)


class Segmentation:
    """A segmentation node."""

    def __init__(self) -> None:
        self.name, self.reference, self.labels = "", None, None

    def SetName(self, name: str) -> None:
        self.name = name

    def GetName(self) -> str:
        return self.name

    def SetReferenceImageGeometryParameterFromVolumeNode(self, node: VolumeNode) -> None:
        self.reference = node


class VolumeNode:
    """A scalar volume node."""

    def __init__(self, image: sitk.Image) -> None:
        self.image = image

    def GetName(self) -> str:
        return "CT"


def plugin_logic(wheel: Path, slicer: Slicer, patch: pytest.MonkeyPatch) -> Any:
    """The logic object of the unmodified plugin."""
    for name, module in slicer.modules().items():
        patch.setitem(sys.modules, name, module)
    file = wheel / "SlicerITKIT" / "ITKITInference" / "ITKITInference.py"
    spec = importlib.util.spec_from_file_location("ITKITInference", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ITKITInferenceLogic()
