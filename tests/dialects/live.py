"""The real application with one interactive model over an archive in memory: on a socket, or for a test client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

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
    server = uvicorn.Server(uvicorn.Config(app, http=protocol(), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Live(f"http://127.0.0.1:{port}", app.state.services)
    finally:
        server.should_exit = True
        thread.join()
