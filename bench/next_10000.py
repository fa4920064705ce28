"""The next sample among 10,000 cases, 8,000 of which have a score, through HTTP.

Each time another annotator asks, so that each time the cases are ranked. The archive is away: whatever asked it would
fail. Images are tiny and lie in the cache, where those of the next cases are fetched ahead of time.
"""

from __future__ import annotations

from time import perf_counter, time

import numpy as np
import sqlalchemy as sa

from app.archives.cache import VolumeCache
from app.catalog import Catalog
from app.catalog.schema import score
from app.core.archive import Delivery, Fetched, Listing, Receipt
from app.core.case import Case
from app.core.progress import Progress
from app.core.volume import Geometry, Volume
from app.errors import ArchiveUnavailable
from app.workspace import Workspace
from bench.data import Plan
from bench.measure import Timing, rotated
from bench.report import Row, at_most
from bench.server import serving
from tests.orthanc import free_port

CASES = 10_000
SCORED = 0.8
MOST = 0.020
STRATEGIES = ("random", "entropy")


def run(plan: Plan) -> list[Row]:
    count = 200 if plan.quick else CASES
    workspace = plan.new_folder("next") / "workspace"
    fill(Workspace.open(workspace), count)
    nobody = f"http://127.0.0.1:{free_port()}/dicom-web"
    seconds: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    with serving(nobody, workspace, {"segmentation": {"type": "segmentation"}}) as server:
        for number in range(-5, plan.repeats(50, quick=10)):
            for strategy in rotated(list(STRATEGIES), number):
                start = perf_counter()
                sample = server.post_json(f"/activelearning/{strategy}", {"client_id": f"{strategy} {number}"}).json()
                elapsed = perf_counter() - start
                if not sample["id"]:
                    raise AssertionError("no case came")
                if number >= 0:
                    seconds[strategy].append(elapsed)
    return [
        at_most("next_10000", f"next of {count}, {name}", Timing(tuple(values)), MOST, "the archive is away")
        for name, values in seconds.items()
    ]


def fill(paths: Workspace, count: int) -> None:
    """A catalog of `count` cases, and their volumes in the cache."""
    cases = tuple(made_up(number) for number in range(count))
    catalog = Catalog.open(paths.catalog)
    catalog.cases.apply(Listing(cases, (), "", complete=True), "sync.cursor")
    values = np.random.default_rng(0).random(count)
    rows = [
        {
            "case_id": case.id,
            "scorer": "entropy:segmentation",
            "model_version": "segmentation-1",
            "value": float(value),
            "detail": {},
            "seconds": 1.0,
            "created": time(),
        }
        for case, value in zip(cases[: int(SCORED * count)], values, strict=False)
    ]
    with catalog.database.write() as connection:
        connection.execute(sa.insert(score), rows)
    catalog.close()
    cache = VolumeCache(OneVolume(), paths.cache / "archive", 2**40)
    for case in cases:
        cache.prefetch(case)


def made_up(number: int) -> Case:
    """Two series per patient."""
    uid = f"1.2.826.0.1.3680043.8.498.{number}"
    return Case(uid, "series", "1", patient_id=f"P{number // 2}", study_uid=f"{uid}.1", series_uid=uid, modality="CT")


class OneVolume:
    """An archive whose cases all look the same, for filling the cache. Keeps `app.core.archive.Archive`."""

    name = "one volume"

    def __init__(self) -> None:
        shape = (8, 8, 8)
        self._fetched = Fetched(Volume(np.arange(512, dtype=np.int16).reshape(shape), Geometry(shape, np.eye(4))), ())

    def list(self, cursor: str | None) -> Listing:
        return Listing((), (), "")

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        return self._fetched

    def store(self, delivery: Delivery) -> Receipt:
        raise ArchiveUnavailable("takes no labels")

    def check(self) -> str:
        return self.name

    def close(self) -> None:
        """Nothing to close."""
