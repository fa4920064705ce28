"""nnInteractive's own client and server (2.6)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.recording.client import Answer, Json, Site
from tests.recording.studies import SENT

FLAGS = {"include_interaction": True, "run_prediction": True, "override_capability_checks": False}


def play(site: Site) -> None:
    site.get("/capabilities")
    site.get("/healthz")
    lease = _claimed(site)
    _too_early(site, lease)
    _prompts(site, lease)
    _other_buffers(site, lease)
    _refusals(site, lease)
    _leases(site, lease)


def _claimed(site: Site) -> str:
    return str(site.post("/claim").get("lease_token"))


def _too_early(site: Site, lease: str) -> None:
    """Before there is an image, and before there is a target buffer."""
    for step in range(2):
        _json(site, lease, "/add_point_interaction", {"coordinates": [1, 2, 3], **FLAGS})
        _json(site, lease, "/add_bbox_interaction", {"bbox_coords": [[1, 2], [1, 4], [1, 5]], **FLAGS})
        _json(site, lease, "/predict", {"force_full_refine": False})
        for path in ("/undo", "/reset_interactions"):
            _json(site, lease, path, {})
        for path in ("/add_scribble_interaction", "/add_lasso_interaction", "/add_initial_seg_interaction"):
            _binary(site, lease, path, np.ones(SENT, np.uint8), **FLAGS)
        _json(site, lease, "/set_target_buffer", {"shape": [1, 2, 3], "dtype": "uint8"})
        if step == 0:
            _json(site, lease, "/set_do_autozoom", {"do_autozoom": True})
            _image(site, lease)


def _prompts(site: Site, lease: str) -> None:
    _target(site, lease)
    stroke, contour = np.zeros(SENT, np.uint8), np.zeros(SENT, np.bool_)
    stroke[2, 3:9, 5], contour[3, 2:8, 4:12] = 1, True
    bbox = [[2, 3], [3, 9], [5, 6]]
    blob = np.zeros(SENT, np.uint8)
    blob[1:4, 2:5, 6:9] = 1
    _point(site, lease, [3, 5, 7])
    _point(site, lease, [0, 10, 13])
    _point(site, lease, [3.4, 5.5, 7], include_interaction=False)
    for path in ("/undo", "/undo"):
        _json(site, lease, path, {})
    _box(site, lease, [[2, 3], [1, 6], [2, 9]])
    _box(site, lease, [[-3, 4], [8, 30], [5, 6]], include_interaction=False)
    _json(site, lease, "/undo", {})
    cut = stroke[tuple(slice(*side) for side in bbox)]
    _binary(site, lease, "/add_scribble_interaction", cut, interaction_bbox=bbox, **FLAGS)
    _binary(site, lease, "/add_scribble_interaction", stroke[::-1].copy(), **{**FLAGS, "include_interaction": False})
    _binary(site, lease, "/add_lasso_interaction", contour, interaction_bbox=None, **FLAGS)
    _json(site, lease, "/undo", {})
    _json(site, lease, "/predict", {"force_full_refine": False})
    _point(site, lease, [5, 1, 1], run_prediction=False)
    _box(site, lease, [[4, 5], [0, 3], [0, 4]], run_prediction=False)
    _json(site, lease, "/predict", {"force_full_refine": True})
    _json(site, lease, "/predict", {})
    for path in ("/undo", "/reset_interactions", "/undo", "/reset_interactions"):
        _json(site, lease, path, {})
    _binary(site, lease, "/add_initial_seg_interaction", blob)
    _point(site, lease, [2, 3, 7], include_interaction=False)
    _json(site, lease, "/undo", {})
    _binary(site, lease, "/add_initial_seg_interaction", (blob[::-1] > 0).copy(), run_prediction=True)
    _binary(site, lease, "/add_initial_seg_interaction", blob * 7)
    _binary(site, lease, "/add_initial_seg_interaction", np.zeros(SENT, np.uint8))
    _json(site, lease, "/undo", {})
    for zoom in (True, False):
        _json(site, lease, "/set_do_autozoom", {"do_autozoom": zoom})
        _point(site, lease, [1, 2, 3])
    _json(site, lease, "/heartbeat", {})
    site.get("/lease_status", X_Lease_Token=lease)


def _other_buffers(site: Site, lease: str) -> None:
    """A new buffer in the middle of things, of each type, and another image."""
    for dtype in ("bool", "int16", "uint32", "int64"):
        _target(site, lease, dtype)
        _point(site, lease, [2, 2, 2])
        _json(site, lease, "/undo", {})
    for dtype in (np.float32, np.uint8, np.int32):
        _image(site, lease, (site.studies.sent.clip(0, 200)).astype(dtype), spacing=[2.5, 0.7, 0.7])
        _target(site, lease)
        _point(site, lease, [2, 2, 2])
    _image(site, lease, spacing="wide")


def _refusals(site: Site, lease: str) -> None:
    _image(site, lease)
    _target(site, lease)
    for at in ([1, 2], [1, 2, 99], ["a", 2, 3], [1, 2, None], [-1, 0, 0]):
        _point(site, lease, at)
    for box in (
        [[1, 2], [1, 2]],
        [[3, 3], [1, 2], [1, 2]],
        [[1, 3], [1, 3], [1, 3]],
        [[50, 60], [1, 2], [1, 2]],
        "box",
    ):
        _box(site, lease, box)
    _box(site, lease, [[1, 3], [1, 3], [1, 3]], override_capability_checks=True)
    for path in (
        "/add_point_interaction",
        "/add_bbox_interaction",
        "/set_target_buffer",
        "/set_do_autozoom",
        "/predict",
    ):
        for body in (b"{", b"[]", b"", b'{"x": 1}'):
            site.post(path, body, X_Lease_Token=lease, Content_Type="application/json")
    for shape, dtype in (
        ([1, 2, 3], "uint8"),
        (list(SENT), "float32"),
        (list(SENT), "object"),
        (list(SENT), "?x"),
        ([0], "u1"),
    ):
        _json(site, lease, "/set_target_buffer", {"shape": shape, "dtype": dtype})
    from nnInteractive.inference.remote.serialization import pack_array

    packed = pack_array(np.ones(SENT, np.uint8))
    for path in ("/set_image", "/add_scribble_interaction", "/add_lasso_interaction", "/add_initial_seg_interaction"):
        for content in (b"", b"NNIA", b"nothing at all", packed[:-5], packed + b"more", b"NNIA\x09" + packed[5:]):
            _binary(site, lease, path, content, **FLAGS)
        _binary(site, lease, path, np.ones((2, 3, 4), np.uint8), **FLAGS)
        _binary(site, lease, path, np.zeros(SENT, np.uint8), **FLAGS)
        _binary(site, lease, path, packed, interaction_bbox=[[0, 1], [0, 1], [0, 1]], **FLAGS)
        site.post(path, packed, X_Lease_Token=lease, X_Meta="{", Content_Type="application/octet-stream")
        site.post(path, packed, X_Lease_Token=lease, Content_Type="application/octet-stream")
    for image in (
        np.zeros((2, *SENT), np.int16),
        np.zeros((1, *SENT), np.int16),
        np.full((1, 2, 3, 4), np.nan, np.float32),
    ):
        _binary(site, lease, "/set_image", image)


def _leases(site: Site, lease: str) -> None:
    others = [_claimed(site) for _ in range(2)]
    site.post("/claim")
    for token in others:
        site.post("/release", Json({}), X_Lease_Token=token)
        site.post("/release", Json({}), X_Lease_Token=token)
    for token in ({"X_Lease_Token": others[0]}, {"X_Lease_Token": "nobody"}, {}):
        for path in ("/heartbeat", "/undo", "/reset_interactions", "/predict", "/set_image", "/add_lasso_interaction"):
            site.post(path, Json({}), **token)
        site.post("/add_point_interaction", Json({"coordinates": [1, 2, 3], **FLAGS}), **token)
        site.get("/lease_status", **token)
    site.post("/release", Json({}))
    site.post("/release", Json({}), X_Lease_Token=lease)
    _point(site, lease, [1, 2, 3])
    site.get("/claim")


def _image(site: Site, lease: str, voxels: NDArray[Any] | None = None, **properties: Any) -> Answer:
    sent = site.studies.sent if voxels is None else voxels
    return _binary(site, lease, "/set_image", sent[None], image_properties=properties)


def _target(site: Site, lease: str, dtype: str = "uint8") -> None:
    _json(site, lease, "/set_target_buffer", {"shape": list(SENT), "dtype": dtype})


def _point(site: Site, lease: str, at: list[Any], **more: Any) -> None:
    _json(site, lease, "/add_point_interaction", {"coordinates": at, **FLAGS, **more})


def _box(site: Site, lease: str, box: Any, **more: Any) -> None:
    _json(site, lease, "/add_bbox_interaction", {"bbox_coords": box, **FLAGS, **more})


def _json(site: Site, lease: str, path: str, body: object) -> Answer:
    return site.post(path, Json(body), X_Lease_Token=lease)


def _binary(site: Site, lease: str, path: str, body: NDArray[Any] | bytes, **meta: Any) -> Answer:
    from nnInteractive.inference.remote.serialization import pack_array

    content = body if isinstance(body, bytes) else pack_array(np.ascontiguousarray(body))
    headers = {"X_Lease_Token": lease, "X_Meta": json.dumps(meta), "Content_Type": "application/octet-stream"}
    return site.post(path, content, **headers)
