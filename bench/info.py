"""`/info/` while the device is busy: what viewers poll, and what MONAI Label answered only after the inference.

A network with random weights segments a whole volume, asked for over one connection, while `/info/` is asked again and
again over others. MONAI Label 0.8.5 took 50.6 s for `/info/` during an inference of 51.7 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from app.catalog import Catalog
from app.core.model import ModelVersion
from app.models.trained.networks import build_network
from app.models.trained.spec import write_version
from app.workspace import Workspace
from bench.data import Plan, ct
from bench.measure import Timing
from bench.report import Row, added, at_most
from bench.server import Server, serving
from trainers.segmentation import Segmentation

MOST = 0.100
PAUSE = 0.05
MODEL = "segmentation"


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    workspace = plan.new_folder("info") / "workspace"
    publish_random_weights(Workspace.open(workspace))
    with serving(series.folder, workspace, {MODEL: {"type": "segmentation"}}) as server:
        server.wait_for_cases(1)
        server.request("HEAD", f"/datastore/image?image={series.series_uid}")
        once = iter(range(plan.repeats(20)))
        idle = asked_while(server, lambda: next(once, None) is not None)
        inference = threading.Thread(target=server.infer, args=(MODEL, series.series_uid, {}))
        start = perf_counter()
        inference.start()
        busy = asked_while(server, inference.is_alive)
        took = perf_counter() - start
    what = f"during an inference of {took:.0f} s"
    return [
        at_most("info", what, busy, MOST, "MONAI Label 0.8.5: 50.6 s during one of 51.7 s"),
        added("info", what, busy, "idle", idle, None, paired=False),
    ]


def asked_while(server: Server, condition: Callable[[], bool]) -> Timing:
    """Seconds of each GET `/info/` for as long as a condition holds. One that outlasts it counts in full."""
    seconds = []
    while condition():
        start = perf_counter()
        server.info()
        seconds.append(perf_counter() - start)
        time.sleep(PAUSE)
    return Timing(tuple(seconds))


def publish_random_weights(paths: Workspace) -> None:
    """Make a workspace serve a network that was never trained."""
    spec = Segmentation().spec(["left", "right"], None)
    folder = Path(MODEL) / "1"
    version = write_version(paths.models / folder, spec, build_network(spec).state_dict())
    catalog = Catalog.open(paths.catalog)
    catalog.versions.add(
        ModelVersion(
            id=f"{MODEL}-1",
            model=MODEL,
            number=1,
            parent="",
            folder=str(folder),
            sha256=version.sha256,
            state="published",
            reason="for a benchmark",
            metrics={},
            label_ids=(),
            licence="",
            job_id="",
            created=time.time(),
        ),
        serve=True,
        who="bench",
    )
    catalog.close()
