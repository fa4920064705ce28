"""A live server: the one place where tests put an application on a socket; and the real application over an archive in
memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from app.archives.memory import MemoryArchive
from app.main import create_app
from app.services import Services
from app.settings import ModelSettings, Settings
from app.web.zero_copy import protocol

FAKE = {"clicks": ModelSettings(type="fake")}


@dataclass(frozen=True)
class Live:
    url: str
    services: Services


class _Server(uvicorn.Server):
    """Says when it listens, so that nobody has to look again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.listening.set()


@contextmanager
def listening(app: ASGIApp, log_level: str = "warning", grace: int | None = None) -> Iterator[int]:
    """The port on the loopback interface where `app` is served as `segloop serve` does it, for the block. At its end,
    requests have `grace` seconds (None: as long as they take)."""
    config = uvicorn.Config(
        app,
        http=protocol(),
        host="127.0.0.1",
        port=0,
        log_level=log_level,
        proxy_headers=False,
        timeout_graceful_shutdown=grace,
    )
    server = _Server(config)
    if isinstance(app, FastAPI):
        app.state.leaving = lambda: server.should_exit  # streams of events end with the server
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    server.listening.wait()
    assert server.started, "the application didn't start: see the log"
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def application(
    workspace: Path, models: dict[str, ModelSettings], archive: MemoryArchive | None = None, **settings: Any
) -> FastAPI:
    values: dict[str, Any] = {"models": models, "learning": {"train_after": 0}, "device": "cpu", **settings}
    return create_app(Settings(workspace=workspace, **values), archive or MemoryArchive())


@contextmanager
def serving(
    workspace: Path, models: dict[str, ModelSettings], archive: MemoryArchive | None = None, **settings: Any
) -> Iterator[Live]:
    app = application(workspace, models, archive, **settings)
    with listening(app) as port:
        yield Live(f"http://127.0.0.1:{port}", app.state.services)
