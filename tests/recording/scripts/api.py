"""`/api/v1`: the panel in OHIF, the dashboard, and programs."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.recording.client import Exchange, Form, Json, Site, part, q
from tests.recording.masking import UNDESCRIBED

API = "/api/v1"
ANNA = {"X_Segloop_User": "Anna%20M%C3%BCller", "X_Segloop_Client": "OHIF"}


def play(site: Site) -> None:
    for path in ("/server", "/device", "/outbox", "/cases", "/jobs", "/labels", "/sessions"):
        site.get(API + path, **ANNA)
    _page_of_the_interface(site)
    _cases(site)
    _next(site)
    for image in site.studies.series.values():
        _session(site, image.uid, image.geometry.shape)
    _bad_prompts(site)
    _labels(site)
    _jobs_and_models(site)
    site.stream(f"{API}/events", 2)
    site.stream(f"{API}/events", 2, Last_Event_ID="1")
    for path in ("/outbox", "/sessions", "/labels?limit=3", "/server"):
        site.get(API + path)


def _page_of_the_interface(site: Site) -> None:
    """Paths, parameters and shapes, with each shape in its place, whatever it is called."""
    answer = site.ask("GET", "/openapi.json")
    page = answer.get()
    schemas = page["components"]["schemas"]
    described = {
        f"{method.upper()} {path}": _resolved(operation, schemas, ())
        for path, operations in page["paths"].items()
        for method, operation in operations.items()
    }
    body = {"paths": described, "info": page["info"]}
    site.exchanges.append(Exchange(site.script, "GET /openapi.json", answer.status, {}, body))
    for path in ("/docs", "/redoc"):
        site.glance(path)


def _resolved(value: Any, schemas: dict[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_resolved(one, schemas, within) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return "(itself)" if name in within else _resolved(schemas[name], schemas, (*within, name))
    # A property may be called like what is left out; its shape is an object.
    kept = {key: one for key, one in value.items() if key not in UNDESCRIBED or isinstance(one, dict)}
    return {key: _resolved(one, schemas, within) for key, one in kept.items()}


def _cases(site: Site) -> None:
    for query in (
        "limit=2&offset=1",
        "completed=true",
        "completed=false",
        "q=PHANTOM-00002",
        "q=nobody",
        "limit=0",
        "limit=x",
    ):
        site.get(f"{API}/cases?{query}")
    names = [image.uid for image in site.studies.series.values()]
    listed = site.ask("GET", f"{API}/cases?limit=1000").get("cases", default=[])
    names += [case["id"] for case in listed if case["kind"] == "file"]
    for name in (*names, "nobody"):
        for path in ("", "/geometry", "/scores", "/labels", "/thumbnail", "/thumbnail?slice=1&size=64"):
            site.get(f"{API}/cases/{part(name)}{path}")
        site.post(f"{API}/cases/{part(name)}/segment", Json({"model": "bands"}), **ANNA)
    one = f"{API}/cases/{names[0]}"
    tag = site.ask("GET", f"{one}/thumbnail").headers.get("etag", "none")
    site.get(f"{one}/thumbnail", If_None_Match=tag)
    for query in ("slice=99", "slice=-1", "size=8", "size=big"):
        site.get(f"{one}/thumbnail?{query}")
    for body in (
        {"model": "clicks"},
        {"model": "nobody"},
        {"model": "untrained"},
        {},
        {"model": "bands", "options": {"x": 1}},
    ):
        site.post(f"{one}/segment", Json(body))


def _next(site: Site) -> None:
    for body in (
        {},
        {"strategy": "last"},
        {"strategy": "nobody"},
        {"strategy": "entropy", "options": {}},
        {"options": 7},
    ):
        site.post(f"{API}/next", Json(body), **ANNA)
    mine = str(site.post(f"{API}/next", Json({"strategy": "first"}), X_Segloop_User="berta").get("case", "id"))
    for case in (mine, mine, "nobody"):
        site.post(f"{API}/cases/{part(case)}/release", X_Segloop_User="berta")
    site.post(f"{API}/next", Json({"strategy": "first"}), X_Segloop_User="berta")
    site.post(f"{API}/next", b"{", Content_Type="application/json")


def _session(site: Site, case: str, shape: tuple[int, int, int]) -> None:
    opened = site.post(f"{API}/sessions", Json({"case_id": case, "model": "clicks", "options": {"radius": 1}}), **ANNA)
    path = f"{API}/sessions/{opened.get('id')}"
    k, j, i = (size // 2 for size in shape)
    stroke = np.zeros((2, 3, 4), bool)
    stroke[0, 1:], stroke[1, :, 2] = True, True
    start = np.zeros(shape, bool)
    start[1:3, 2:5, 3:6] = True
    for prompts in (
        [{"type": "point", "at": [k, j, i]}],
        [
            {"type": "point", "at": [k, j, i - 1], "include": False},
            {"type": "box", "low": [0, 0, 0], "high": [1, 4, 5]},
        ],
        [{"type": "scribble", "low": [1, 1, 1], "high": [3, 4, 5], "voxels": _bits(stroke)}],
        [{"type": "lasso", "low": [1, 1, 1], "high": [3, 4, 5], "voxels": _bits(stroke), "include": False}],
        [{"type": "polyline_scribble", "points": [[1, 1.5, 2], [2.2, 6, 7]], "radius": 1.5}],
        [{"type": "polygon_lasso", "axis": 0, "points": [[2, 1, 1], [2, 8, 2], [2, 5, 9.5]]}],
        [{"type": "polygon_lasso", "axis": 2, "points": [[0, 1, 4], [4, 2, 4], [3, 7.5, 4]], "include": False}],
        [{"type": "mask", "voxels": _bits(start)}],
        [{"type": "mask", "voxels": _bits(start[::-1]), "refine": True}],
    ):
        site.post(f"{path}/prompts", Json({"prompts": prompts}))
    site.get(f"{path}/mask")
    for _ in range(2):
        site.post(f"{path}/undo")
    site.post(f"{path}/prompts", Json({"prompts": [{"type": "point", "at": [0, 0, 0]}], "predict": False}))
    site.post(f"{path}/prompts", Json({"prompts": [{"type": "point", "at": [k, 0, 0]}]}))
    site.get(path)
    site.post(f"{path}/label", Json({"structure": "spleen", "comment": "ready", "tag": "final"}))
    site.wait_for_labels()
    site.post(f"{path}/reset")
    site.get(f"{path}/mask")
    site.delete(path)
    for again in ("undo", "reset", "prompts"):
        site.post(f"{path}/{again}", Json({"prompts": [{"type": "point", "at": [0, 0, 0]}]}))
    site.get(f"{path}/mask")
    site.delete(path)
    name = str(opened.get("name"))
    site.get(f"{API}/sessions/{name}")
    site.post(f"/api/sessions/{name}/label", Json({"structure": "liver"}))
    site.wait_for_labels()


def _bad_prompts(site: Site) -> None:
    oblique = site.studies.series["oblique"].uid
    for body in (
        {},
        {"case_id": "nobody"},
        {"case_id": oblique, "model": "nobody"},
        {"case_id": oblique, "model": "bands"},
    ):
        site.post(f"{API}/sessions", Json(body))
    for model in ("untrained", "deepgrow_2d", "Histogram+GraphCut"):
        site.post(f"{API}/sessions", Json({"case_id": oblique, "model": model}))
    for options in ({"radius": "wide"}, {"radius": 1.5}, {"other": 1}, 7):
        site.post(f"{API}/sessions", Json({"case_id": oblique, "options": options}))
    session = site.post(f"{API}/sessions", Json({"case_id": oblique})).get("id")
    path = f"{API}/sessions/{session}/prompts"
    for prompt in (
        {"type": "point", "at": [99, 0, 0]},
        {"type": "point", "at": [1, 2]},
        {"type": "point", "at": [1, 2, 3], "exclude": True},
        {"type": "arrow", "at": [1, 2, 3]},
        {"type": "box", "low": [3, 3, 3], "high": [1, 1, 1]},
        {"type": "box", "low": [0, 0, 0], "high": [99, 1, 1]},
        {"type": "scribble", "low": [0, 0, 0], "high": [1, 1, 1], "voxels": "A"},
        {"type": "scribble", "low": [0, 0, 0], "high": [1, 1, 3], "voxels": "????"},
        {"type": "lasso", "low": [0, 0, 0], "high": [1, 1, 3], "voxels": "AAAA"},
        {"type": "polyline_scribble", "points": [], "radius": 1},
        {"type": "polyline_scribble", "points": [[900, 900, 900]], "radius": 1},
        {"type": "polygon_lasso", "axis": 3, "points": [[0, 0, 0]] * 3},
        {"type": "polygon_lasso", "axis": 0, "points": [[0, 0, 0], [1, 5, 5], [2, 0, 5]]},
        {"type": "mask", "voxels": "AA=="},
    ):
        site.post(path, Json({"prompts": [prompt]}))
    for body in ({"prompts": []}, {"prompts": [{}]}, {"prompts": 1}, []):
        site.post(path, Json(body))
    site.post(path, b"{", Content_Type="application/json")
    for other in ("nobody", f"{session}-x"):
        site.get(f"{API}/sessions/{other}")
        site.get(f"{API}/sessions/{other}/mask")
        site.post(f"{API}/sessions/{other}/label", Json({}))
        site.delete(f"{API}/sessions/{other}")
    site.post(f"{API}/sessions/{session}/label", Json({"tag": ""}))
    site.get(f"{API}/sessions?limit=0")


def _labels(site: Site) -> None:
    image = site.studies.series["sagittal"]
    path = f"{API}/cases/{image.uid}/labels"
    voxels = np.random.default_rng(9).integers(0, 3, image.geometry.shape, np.uint8)
    packed = gzip.compress(voxels.tobytes(), mtime=0)
    site.post(q(path, structures="liver,spleen", comment="painted"), packed, **ANNA)
    site.post(q(path, structures="liver,spleen", comment="painted"), packed, **ANNA)
    form = Form({"meta": json.dumps({"structures": ["spleen", "liver"], "tag": "draft"})}, {"voxels": ("v.gz", packed)})
    site.post(path, form, **ANNA)
    site.wait_for_labels()
    for wrong in ("structures=liver", "structures=liver,liver", "structures=liver,,spleen", "tag=", f"tag={'t' * 99}"):
        site.post(f"{path}?{wrong}", packed)
    for content in (b"", b"nothing", packed[:-9], packed + b"x", gzip.compress(voxels.tobytes()[:-1], mtime=0)):
        site.post(path, content)
    site.post(path, Form({"meta": "{}"}))
    site.post(path, Form({"meta": "["}, {"voxels": ("v.gz", packed)}))
    site.post(f"{API}/cases/nobody/labels", packed)
    labels = site.get(path).get(default=[])
    for label in (*labels, {"id": 999999}, {"id": "x"}):
        site.get(f"{API}/labels/{label['id']}/file")
        site.get(f"{API}/labels/{label['id']}/voxels")
        site.post(f"{API}/outbox/{label['id']}/retry")
    site.post(f"{API}/outbox/retry")
    for query in (
        "who=Anna%20M%C3%BCller",
        "who=nobody",
        "since=2999-01-01",
        "since=2001-01-01T00:00:00Z",
        "since=x",
        "limit=0",
    ):
        site.get(f"{API}/labels?{query}")


def _jobs_and_models(site: Site) -> None:
    jobs = site.get(f"{API}/jobs").get(default=[])
    for job in (*(one["id"] for one in jobs), "nobody"):
        site.get(f"{API}/jobs/{job}")
        site.glance(f"{API}/jobs/{job}/log")
        site.delete(f"{API}/jobs/{job}")
    for query in ("kind=train", "kind=score&limit=1", "kind=other", "limit=0"):
        site.get(f"{API}/jobs?{query}")
    for body in ({"kind": "train", "model": "nobody"}, {"kind": "score", "model": "clicks"}, {"kind": "segment"}, {}):
        site.post(f"{API}/jobs", Json(body))
    for model in ("clicks", "untrained", "nobody"):
        site.get(f"{API}/models/{model}/versions")
        site.post(f"{API}/models/{model}/serve", Json({"version": "none"}))
        site.post(f"{API}/models/{model}/rollback")


def _bits(voxels: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(voxels).tobytes()).decode()
