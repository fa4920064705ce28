"""A label of five structures submitted, until the server has answered 200: from then on it is safe.

Sent as `.nii.gz` the way MONAI Label's client and 3D Slicer send it, for a case in a real Orthanc whose image has been
opened before. New content each time. `/info/` is asked right after and has to count the case as completed; the label
is hidden again before the next one is sent, so that there is something to count.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from urllib.parse import urlencode

from bench.archive import orthanc_with
from bench.data import Plan, blobs, ct, names, write_nifti
from bench.measure import Timing
from bench.report import Row, at_most
from bench.server import Server, serving

STRUCTURES = 5
MOST = 2.0


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    folder = plan.new_folder("submit")
    case_id = series.series_uid
    seconds, counted = [], []
    with orthanc_with(plan, series) as orthanc, serving(orthanc.url, folder / "workspace", {}) as server:
        server.wait_for_cases(1)
        server.request("GET", f"/datastore/image?{urlencode({'image': case_id})}")
        send = sender(server, folder)
        for number in range(-1, plan.repeats(5)):
            file = write_nifti(
                blobs(plan.shape, STRUCTURES, shift=number), series.geometry, folder / f"{number}.nii.gz"
            )
            before = server.info()["datastore"]["completed"]
            start = perf_counter()
            send(case_id, file)
            elapsed = perf_counter() - start
            if number >= 0:
                seconds.append(elapsed)
                counted.append(server.info()["datastore"]["completed"] == before + 1)
            server.wait_for_deliveries()
            server.request("DELETE", f"/datastore/label?{urlencode({'id': case_id, 'tag': 'final'})}")
    at_once = all(counted)
    note = f"progress right at once: {'yes' if at_once else 'NO'}"
    return [at_most("submit", f"label of {STRUCTURES} structures", Timing(tuple(seconds)), MOST, note, at_once)]


def sender(server: Server, folder: Path) -> Callable[[str, Path], object]:
    """MONAI Label's own client where it is installed, else the same form."""
    params = {"label_info": [{"name": name, "idx": number} for number, name in enumerate(names(STRUCTURES), start=1)]}
    if importlib.util.find_spec("monailabel") is not None:
        from monailabel.client import MONAILabelClient

        client = MONAILabelClient(server.address, tmpdir=str(folder), client_id="bench")
        return lambda case_id, file: client.save_label(case_id, str(file), params=params)
    fields = {"params": json.dumps({**params, "client_id": "bench"})}

    def send(case_id: str, file: Path) -> object:
        return server.form("PUT", f"/datastore/label?{urlencode({'image': case_id})}", fields, {"label": file})

    return send
