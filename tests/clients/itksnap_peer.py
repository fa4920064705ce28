"""The real itksnap-dls server as a process beside ours: installed at test time, never part of this project (GPL).

Its own dependencies would replace torch by a CUDA build of gigabytes, so it is installed without them into a virtual
environment that sees the packages of the one this runs in.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.exclusive import exclusive
from tests.orthanc import free_port

RELEASE = "itksnap-dls==0.1.6"
_CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_START = 90.0  # seconds; it imports torch

_WITH_WEIGHTS = """
import sys, huggingface_hub
folder, port = sys.argv[1:]
huggingface_hub.snapshot_download = lambda *_, **__: folder
sys.argv = ["itksnap_dls", "--host", "127.0.0.1", "--port", port, "--device", "cpu"]
import runpy
runpy.run_module("itksnap_dls", run_name="__main__")
"""


class PeerMissing(RuntimeError):
    """It can't be installed here."""


def install(folder: Path) -> Path:
    """The Python of an environment in `folder` that has it; made once. Raises `PeerMissing`."""
    with exclusive(folder):
        return _installed(folder)


def _installed(folder: Path) -> Path:
    python = folder / "bin" / "python"
    done = folder / f"has {RELEASE} {sys.prefix.replace('/', '_')}"
    if done.exists():
        return python
    venv.create(folder, clear=True, with_pip=False)
    own = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    command += ["--retries", "1", "--timeout", "20", "--constraint", str(_CONSTRAINTS), RELEASE]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        subprocess.run([python, "-c", "import itksnap_dls"], capture_output=True, text=True, check=True, timeout=120)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PeerMissing(f"{RELEASE} can't be installed: {last}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{RELEASE} can't be installed: pip takes too long") from error
    done.touch()
    return python


@contextmanager
def mock_models(python: Path, log: Path) -> Iterator[int]:
    """The port of a server that works without networks: balls and dilated strokes."""
    port = free_port()
    command = [str(python), "-m", "itksnap_dls", "--host", "127.0.0.1", "--port", str(port)]
    with _running([*command, "--device", "cpu", "--mock-models", "--no-network"], port, log):
        yield port


@contextmanager
def real_models(python: Path, weights: Path, log: Path) -> Iterator[int]:
    """The port of a server that runs nnInteractive with the weights in `weights/nnInteractive_v1.0`."""
    port = free_port()
    with _running([str(python), "-c", _WITH_WEIGHTS, str(weights), str(port)], port, log):
        yield port


@contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
    try:
        deadline = time.monotonic() + _START
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PeerMissing(f"it doesn't start: {log.read_text()[-500:]}")
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
