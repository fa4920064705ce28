"""Trees of the project, and `segloop serve` out of each of them, as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.orthanc import free_port

HERE = Path(__file__).parents[2]
"""The tree that this module belongs to."""

START_SECONDS = 180.0
STOP_SECONDS = 60.0


class ServerFailed(RuntimeError):
    """A server didn't start, or ended on its own."""


@dataclass(frozen=True)
class Tree:
    """One checkout of the project; `name` is what a report calls it."""

    name: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """Ours without any setting of a server, with the tree in front of whatever is installed."""
        ours = {key: value for key, value in os.environ.items() if not key.upper().startswith("SEGLOOP_")}
        plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "240", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**ours, **plain, "PYTHONPATH": str(self.folder)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with `arguments` to its end in this tree."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def check(self) -> None:
        """Make sure that this tree's code runs, and not an installed one's. Raises `ServerFailed`."""
        ended = self.run("-c", "import app; print(app.__file__)")
        expected = self.folder / "app" / "__init__.py"
        if ended.returncode != 0 or Path(ended.stdout.strip()).resolve() != expected.resolve():
            raise ServerFailed(f"{self.name}: `app` is {ended.stdout.strip() or ended.stderr}, not {expected}")


@contextmanager
def checkout(commit: str) -> Iterator[Tree]:
    """A tree of an earlier commit in a temporary folder, which is removed afterwards.

    Raises `ServerFailed` if the repository has no such commit (a shallow clone may not).
    """
    with tempfile.TemporaryDirectory(prefix="segloop-recording-") as temporary:
        folder = Path(temporary) / "tree"
        try:
            _git("worktree", "add", "--detach", "--quiet", str(folder), commit)
        except subprocess.CalledProcessError as error:
            raise ServerFailed(f"commit {commit} can't be checked out: {error.stderr.strip()}") from error
        try:
            yield Tree(commit, folder)
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True)


@dataclass
class Server:
    """`segloop serve` out of a tree. `workspace` outlives a restart; `settings` are those of the configuration."""

    tree: Tree
    folder: Path
    settings: Mapping[str, Any]
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return str(self.settings.get("token", ""))

    def start(self) -> None:
        """Start it, again after a `stop`. Raises `ServerFailed`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yaml"
        workspace = {"workspace": str(self.folder / "workspace"), "port": self.port}
        config.write_text(yaml.safe_dump({**self.settings, **workspace}))
        command = [sys.executable, "-m", "app.cli", "serve", "--config", str(config)]
        with (self.folder / "printed.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.tree.folder,
                env=self.tree.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait()

    def stop(self) -> None:
        """End it as an operator does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                break
            with suppress(requests.RequestException):
                if requests.get(f"{self.address}/livez", timeout=10).ok:
                    return
            time.sleep(0.1)
        said = (self.folder / "printed.log").read_text(errors="replace")[-2000:]
        self.stop()
        raise ServerFailed(f"{self.tree.name}: the server doesn't start:\n{said}")


@contextmanager
def serving(tree: Tree, folder: Path, settings: Mapping[str, Any]) -> Iterator[Server]:
    """A server that answers, over everything that `settings` say; stopped when the block ends."""
    server = Server(tree, folder, settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()
