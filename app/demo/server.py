"""The server as a child process, started by its command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

START_SECONDS = 90.0
STOP_SECONDS = 30.0
USUAL_PORT = 8000
_HOST = "127.0.0.1"


class ServerFailed(Exception):
    """The server didn't start, or ended on its own."""


@dataclass(frozen=True)
class Launch:
    """How to start the server. `settings` are environment variables (`SEGLOOP_...`). `log` receives its output."""

    config: Path
    studies: str
    workspace: Path
    log: Path
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    address: str
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Wait until it exits."""
        self.process.wait()

    def delivers(self, seconds: float) -> bool:
        """Wait until every label is delivered to the archive; False after `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(requests.RequestException, ValueError):
                outbox = _session().get(f"{self.address}/readyz", timeout=5).json()["outbox"]
                if outbox["waiting"] == outbox["refused"] == 0:
                    return True
            time.sleep(0.5)
        return False


@contextmanager
def running(launch: Launch) -> Iterator[Server]:
    """A server that answers, stopped when the block ends. Raises `ServerFailed`."""
    port = _free_port()
    command = [sys.executable, "-m", "app.cli", "serve", "--config", str(launch.config), "--studies", launch.studies]
    command += ["--workspace", str(launch.workspace), "--host", _HOST, "--port", str(port)]
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    with launch.log.open("wb") as log:
        # A session of its own: Ctrl-C is handled here, which then stops the server.
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command,
            env=_environment(launch.settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            server = Server(f"http://{_HOST}:{port}", process)
            _wait_until_it_answers(server, launch.log)
            yield server
        finally:
            _stop(process)


@contextmanager
def terminable() -> Iterator[None]:
    """Within this block SIGTERM acts like Ctrl-C, so that the server is stopped too."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment without settings of another server, except those of the archive."""
    ours = {key: value for key, value in os.environ.items() if not key.upper().startswith("SEGLOOP_")}
    archive = {key: value for key, value in os.environ.items() if key.upper().startswith("SEGLOOP_ARCHIVE__")}
    return {**ours, **archive, **settings}


def _free_port() -> int:
    """The default port of viewers if it is free, else any free port."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerFailed("no port is free")


def _wait_until_it_answers(server: Server, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    session = _session()
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise ServerFailed(f"the server ended with {server.process.returncode}:\n{_last_lines(log)}")
        try:
            if session.get(f"{server.address}/livez", timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise ServerFailed(f"the server doesn't answer after {START_SECONDS:.0f} s:\n{_last_lines(log)}")


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
