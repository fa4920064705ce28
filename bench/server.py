"""The real server in a process of its own, and HTTP to it as the viewers speak it: a new connection per request."""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import yaml

from tests.orthanc import free_port

PATIENCE = 120.0
"""Seconds that a server may take to start, or to see its archive's cases."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.body)
        return answer


@dataclass(frozen=True)
class Server:
    """A running server; `pid` is its process."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask, and read the whole answer. Raises `RuntimeError` for any status but 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            answer = Answer(response.status, response.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path} answers {answer.status}: {answer.body[:500]!r}")
        return answer

    def post_json(self, path: str, value: object) -> Answer:
        return self.request("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def form(self, method: str, path: str, fields: Mapping[str, str], files: Mapping[str, Path]) -> Answer:
        """A multipart form, built as MONAI Label's client does: in memory, the file under its whole path."""
        boundary = secrets.token_hex(16)
        parts = []
        for name, value in fields.items():
            parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        for name, file in files.items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
            parts += [f"{head}Content-Type: application/octet-stream\r\n\r\n".encode(), file.read_bytes(), b"\r\n"]
        body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
        return self.request(method, path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def infer(self, model: str, case_id: str, params: Mapping[str, Any]) -> Answer:
        path = f"/infer/{quote(model)}?{urlencode({'image': case_id})}"
        return self.form("POST", path, {"params": json.dumps(params)}, {})

    def info(self) -> dict[str, Any]:
        return self.request("GET", "/info/").json()

    def wait_for_cases(self, count: int) -> None:
        """Until the archive has been read."""
        _wait(lambda: self.info()["datastore"]["total"] >= count, "the server doesn't see its cases")

    def wait_for_deliveries(self) -> None:
        """Until every label is with the archive, so that delivering one doesn't disturb what is measured next."""

        def delivered() -> bool:
            return bool(self.request("GET", "/healthz").json()["outbox"]["waiting"] == 0)

        _wait(delivered, "labels are not delivered")


@contextmanager
def serving(
    studies: str | Path, workspace: Path, models: Mapping[str, Mapping[str, Any]], **more: object
) -> Iterator[Server]:
    """A server over an archive, from `segloop serve` until the block ends. Trains nothing on its own. `more` are
    further settings."""
    settings = {"models": models, "learning": {"train_after": 0}, "device": "cpu", **more}
    config = workspace.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(settings))
    port = free_port()
    command = [sys.executable, "-m", "app.cli", "serve", "--config", str(config), "--studies", str(studies)]
    command += ["--workspace", str(workspace), "--port", str(port)]
    log_file = workspace.with_suffix(".log")
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Server(port, process.pid)
    try:
        _wait(lambda: _lives(server, process, log_file), "the server doesn't start")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _lives(server: Server, process: subprocess.Popen[bytes], log_file: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the server ended: {log_file.read_text()[-2000:]}")
    try:
        return server.request("GET", "/livez").status == 200
    except OSError:
        return False


def _wait(condition: Any, problem: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.05)
