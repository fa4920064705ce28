"""The real application on a real socket, with models whose answers anyone can work out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.main import create_app
from app.services import Services
from app.settings import ModelSettings, Settings
from tests.dialects.itksnap.replica import Image, ItkSnap, Wire
from tests.live import listening

SHAPE = (5, 9, 13)
MODELS = {
    "cubes": ModelSettings(type="fake"),
    "bands": ModelSettings(type="fake_automatic"),
    "Histogram+GraphCut": ModelSettings(type="histogram_graphcut"),
    "untrained": ModelSettings(type="deepgrow_3d", trainer="deepgrow"),
}


@dataclass(frozen=True)
class Site:
    port: int
    services: Services
    workspace: Path

    def snap(self, generation: Literal[1, 2] = 2, login: str = "") -> ItkSnap:
        """An ITK-SNAP that has chosen this server."""
        snap = ItkSnap(Wire(self.port, login), generation)
        snap.connect()
        return snap


@contextmanager
def opened(folder: Path, token: str | None = None, **settings: Any) -> Iterator[Site]:
    values: dict[str, Any] = {"models": MODELS, "learning": {"train_after": 0}, **settings}
    app = create_app(Settings(workspace=folder, device="cpu", **values), MemoryArchive(), token)
    with listening(app) as port:
        yield Site(port, app.state.services, folder)


def image(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Image:
    return Image(np.random.default_rng(seed).normal(100, 50, shape).astype(np.float32))


def cube(at: tuple[int, int, int], shape: tuple[int, int, int] = SHAPE, radius: int = 2) -> NDArray[np.uint8]:
    """What the model "cubes" answers to a click on x, y, z: worked out here, in `(k, j, i)`."""
    x, y, z = at
    k, j, i = np.indices(shape)
    inside = (abs(k - z) <= radius) & (abs(j - y) <= radius) & (abs(i - x) <= radius)
    return inside.astype(np.uint8)
