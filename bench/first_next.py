"""The first "next sample" of a series in a real Orthanc, until the viewer has its image: nothing cached.

The server has started and knows the case. Each time has a workspace of its own.
"""

from __future__ import annotations

from time import perf_counter
from urllib.parse import urlencode

from bench.archive import orthanc_with
from bench.data import Plan, ct
from bench.measure import Timing
from bench.report import Row, at_most
from bench.server import Server, serving

MOST = 2.5


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    asked, downloaded = [], []
    with orthanc_with(plan, series) as orthanc:
        for _ in range(plan.repeats(5)):
            workspace = plan.new_folder("first-next") / "workspace"
            with serving(orthanc.url, workspace, {}) as server:
                server.wait_for_cases(1)
                first, second = next_sample(server)
            asked.append(first)
            downloaded.append(second)
    whole = Timing(tuple(a + b for a, b in zip(asked, downloaded, strict=True)))
    parts = f"of this the download: {Timing(tuple(downloaded)).median:.2f} s"
    return [at_most("first_next", "next sample and its image, first time", whole, MOST, parts)]


def next_sample(server: Server) -> tuple[float, float]:
    """Seconds until the case is known, and until its image is there."""
    start = perf_counter()
    sample = server.post_json("/activelearning/first", {"client_id": "bench"}).json()
    between = perf_counter()
    server.request("GET", f"/datastore/image?{urlencode({'image': sample['id']})}")
    return between - start, perf_counter() - between
