"""What viewers notice of a restart: nothing, where their protocol has sessions that outlive it."""

from __future__ import annotations

import gzip
import json

import numpy as np

from tests.recording.client import Form, Json, Site, q
from tests.recording.scripts.itksnap import GRID
from tests.recording.scripts.monailabel import infer
from tests.recording.studies import npy


def play(site: Site) -> None:
    oblique = site.studies.series["oblique"].uid
    opened = site.post("/api/v1/sessions", Json({"case_id": oblique, "model": "clicks"}), X_Segloop_User="restart")
    own = f"/api/v1/sessions/{opened.get('id')}"
    site.post(f"{own}/prompts", Json({"prompts": [{"type": "point", "at": [3, 6, 5]}]}))
    site.post(f"{own}/prompts", Json({"prompts": [{"type": "point", "at": [5, 9, 8]}]}))
    snap = str(site.get("/v2/start_session/clicks").get("session_id"))
    packed = gzip.compress(np.ascontiguousarray(site.studies.sent, "<f4").tobytes(), 1, mtime=0)
    site.post(f"/v2/upload_raw/{snap}", Form({"metadata": json.dumps(GRID)}, {"file": ("image.gz", packed)}))
    _snap(site, snap, (7, 5, 3))
    person = "/u/restart"
    image = Form({}, {"file": ("volume.npy", npy(site.studies.sent))})
    site.post(f"{person}/upload_image", image, Content_Encoding="gzip")
    site.post(f"{person}/add_point_interaction", Json({"voxel_coord": [3, 5, 7], "positive_click": True}))
    lease = str(site.post("/claim").get("lease_token"))
    upload = str(site.put("/session/", Form({}, {"files": ("scan.nii.gz", _volume(site))})).get("session_id"))

    site.server.stop()
    site.server.start()

    site.post(f"{own}/undo")
    site.post(f"{own}/prompts", Json({"prompts": [{"type": "point", "at": [1, 2, 3]}]}))
    site.get(f"{own}/mask")
    site.post(f"{own}/label", Json({"structure": "liver"}))
    _snap(site, snap, (2, 2, 2))
    site.post(f"{person}/add_point_interaction", Json({"voxel_coord": [1, 1, 1], "positive_click": True}))
    site.post("/heartbeat", Json({}), X_Lease_Token=lease)
    site.get(f"/session/{upload}")
    infer(site, "clicks", oblique, {"client_id": "restart", "label": "liver", "foreground": [[5, 6, 3]]})
    site.wait_for_labels()
    site.get("/api/v1/labels")
    for path in ("/train/", "/scoring/", "/batch/infer", "/api/info", "/api/v1/sessions", "/info/"):
        site.get(path)


def _snap(site: Site, session: str, at: tuple[int, int, int]) -> None:
    site.get(q(f"/v2/process_point_interaction/{session}", point=at, foreground="true"))


def _volume(site: Site) -> bytes:
    from tests.recording.studies import nifti

    return nifti(*site.studies.volume)
