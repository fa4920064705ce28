"""Sessions with a model whose versions are in the model store, and with one whose weights nobody keeps."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.core.model import ModelVersion, Option
from app.core.prompt import Point, Prompt, Region, Scribble
from app.services import Services
from app.services.prompting.log import Viewer
from tests.models.folders import tiny_version
from tests.prompting import Steps

SHAPE = (18, 24, 20)
ANA = Viewer("a viewer", "ana")
OPTIONS: dict[str, dict[str, Option]] = {"grower": {}, "tiny": {"autozoom": False}}

Opener = Callable[[], Services]


def publish(services: Services, number: int) -> None:
    """Serve other weights, as a training that ended well does."""
    folder = services.project.paths.models / "grower" / str(number)
    version = tiny_version(folder, "deepgrow_3d", seed=number + 2)
    row = ModelVersion(
        id=f"grower-{number}", model="grower", number=number, parent="", folder=f"grower/{number}",
        sha256=version.sha256, state="published", reason="", metrics={}, label_ids=(), licence="",
        job_id=f"job{number}", created=time.time(),
    )  # fmt: skip
    services.project.catalog.versions.add(row, serve=True, who="test")
    services.models.refresh()


def clicks(count: int, seed: int = 0) -> list[Prompt]:
    rng = np.random.default_rng(seed)
    places = rng.integers(0, SHAPE, (count, 3)).tolist()
    return [Point((k, j, i), include=number % 3 != 2) for number, (k, j, i) in enumerate(places)]


STROKE = Scribble(Region((6, 4, 5), (7, 9, 11)), np.random.default_rng(3).random((1, 5, 6)) > 0.4)


def opened(services: Services, model: str, prompts: list[Prompt], who: str = "ana") -> str:
    case_id = services.cases.all()[0].case.id
    session = services.prompting.open(who, case_id, model, OPTIONS[model], ANA)
    Steps(services).add(session, who, prompts)
    return session


def mask(services: Services, session: str, who: str = "ana") -> NDArray[np.uint8]:
    return Steps(services).mask(session, who)


def without_snapshots(services: Services) -> None:
    """What a kill leaves: only the logs."""
    for file in services.project.paths.sessions.glob("*/snapshot.bin"):
        file.unlink()
