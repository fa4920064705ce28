"""A server with a model that grows cubes, and a client that says exactly what a test wants it to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from nnInteractive.inference.remote.serialization import pack_array, unpack_array
from numpy.typing import NDArray

from app.services import Services
from tests.live import FAKE, application

SHAPE = (6, 9, 13)
FLAGS = {"include_interaction": True, "run_prediction": True, "override_capability_checks": False}


def image(shape: tuple[int, ...] = SHAPE) -> NDArray[np.int16]:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(1, *shape)


@dataclass(frozen=True)
class Site:
    client: TestClient
    services: Services

    def claim(self) -> Seated:
        return Seated(self, self.client.post("/claim").json()["lease_token"])

    def opened(self, shape: tuple[int, ...] = SHAPE, dtype: str = "uint8") -> Seated:
        """A lease with an image and a target buffer."""
        seated = self.claim()
        assert seated.binary("/set_image", image(shape)).json() == {"original_image_shape": [1, *shape]}
        assert seated.json("/set_target_buffer", {"shape": list(shape), "dtype": dtype}).json() == {}
        seated.buffer = np.zeros(shape, dtype)
        return seated


@dataclass
class Seated:
    """A lease; `buffer` is what the client holds."""

    site: Site
    token: str
    buffer: NDArray[Any] | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Lease-Token": self.token}

    def json(self, path: str, body: object) -> Any:
        return self.site.client.post(path, json=body, headers=self.headers)

    def binary(self, path: str, body: NDArray[Any] | bytes, **meta: Any) -> Any:
        content = body if isinstance(body, bytes) else pack_array(body)
        headers = {"X-Meta": json.dumps(meta), "Content-Type": "application/octet-stream", **self.headers}
        return self.site.client.post(path, content=content, headers=headers)

    def point(self, at: Any, **more: Any) -> Any:
        return self.json("/add_point_interaction", {"coordinates": at, **FLAGS, **more})

    def take(self, answer: Any) -> dict[str, Any]:
        """Patch the buffer as the real client does; returns the answer's metadata."""
        assert answer.status_code == 200, answer.text
        meta: dict[str, Any] = json.loads(answer.headers["x-meta"])
        if meta["ran_prediction"] and meta["bbox"] is not None:
            part = unpack_array(answer.content)
            assert (str(part.dtype), list(part.shape)) == (meta["dtype"], meta["shape"])
            assert self.buffer is not None
            self.buffer[tuple(slice(low, high) for low, high in meta["bbox"])] = part
        else:
            assert answer.content == b""
        return meta


@contextmanager
def opened(folder: Path, **settings: Any) -> Iterator[Site]:
    app = application(folder, **{"models": FAKE, **settings})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield Site(client, app.state.services)
