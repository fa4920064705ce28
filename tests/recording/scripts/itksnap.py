"""ITK-SNAP's two generations (itksnap-dls)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.recording.client import Answer, Form, Site, q
from tests.recording.studies import SENT

GRID = {
    "components_per_pixel": 1,
    "component_type": "float32",
    "dimensions": list(SENT[::-1]),
    "spacing": [0.8, 0.9, 2.5],
    "origin": [-10.0, 4.5, 33.0],
    "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1],
}


def play(site: Site) -> None:
    site.get("/status")
    site.get("/v2/models")
    for version in ("", "/v2"):
        session = _started(site, version)
        _annotate(site, version, session)
        _another_image(site, version, session)
        _bad_input(site, version, session)
        site.get(f"{version}/end_session/{session}")
        _click(site, version, session, (1, 2, 3))
        site.get(f"{version}/end_session/{session}")
        site.get(f"{version}/end_session/nobody")
    for model in ("clicks", "Histogram%2BGraphCut", "bands", "untrained", "deepgrow_2d", "nobody", "nnInteractive"):
        site.get(f"/v2/start_session/{model}")
    _flat(site)


def _started(site: Site, version: str) -> str:
    path = "/v2/start_session/nnInteractive" if version else "/start_session"
    return str(site.get(path).get("session_id"))


def _annotate(site: Site, version: str, session: str) -> None:
    _click(site, version, session, (7, 5, 3))
    _upload(site, version, session, _packed(site.studies.sent), GRID)
    site.get(f"{version}/reset_interactions/{session}")
    stroke, contour = np.zeros(SENT), np.zeros(SENT)
    stroke[2, 3:9, 5], contour[3, 2:8, 4:12] = 1, 1
    _click(site, version, session, (7, 5, 3))
    _click(site, version, session, (6, 5, 3), foreground="false")
    _draw(site, "scribble", session, _packed(stroke))
    _draw(site, "scribble", session, _packed(stroke[::-1]), foreground="false")
    _draw(site, "lasso", session, _packed(contour))
    site.get(f"{version}/reset_interactions/{session}")
    _click(site, version, session, (13, 10, 5))


def _another_image(site: Site, version: str, session: str) -> None:
    turned = {**GRID, "direction": [0, 0, 1, -1, 0, 0, 0, -1, 0]}
    _upload(site, version, session, _packed(site.studies.sent[::-1]), turned)
    _click(site, version, session, (1, 1, 1))
    small = {key: GRID[key] for key in ("components_per_pixel", "component_type", "dimensions")}
    for told in (small, {"dimensions": GRID["dimensions"]}, {**GRID, "spacing": [0, 1, 2], "origin": "here"}):
        _upload(site, version, session, _packed(site.studies.sent), told)
        _click(site, version, session, (2, 1, 1))
    short = {**GRID, "component_type": "int16"}
    _upload(site, version, session, gzip.compress(site.studies.sent.astype("<i2").tobytes(), mtime=0), short)
    _click(site, version, session, (2, 1, 1))


def _bad_input(site: Site, version: str, session: str) -> None:
    good = _packed(site.studies.sent)
    bad: tuple[dict[str, Any], ...] = (
        {**GRID, "dimensions": [2, 3]},
        {**GRID, "dimensions": [2, 3, 4]},
        {**GRID, "dimensions": [0, 3, 4]},
        {**GRID, "dimensions": "all"},
        {**GRID, "dimensions": [100000, 100000, 100000]},
        {**GRID, "components_per_pixel": 3},
        {**GRID, "component_type": "complex64"},
        {},
    )
    for told in bad:
        _upload(site, version, session, good, told)
        _click(site, version, session, (1, 1, 1))
    for content in (b"", b"nothing", good[:-9], good + b"x", _packed(np.zeros(SENT)), _packed(np.full(SENT, np.nan))):
        _upload(site, version, session, content, GRID)
        _click(site, version, session, (1, 1, 1))
    path = f"{version}/upload_raw/{session}"
    site.post(path, Form({"metadata": json.dumps(GRID)}))
    site.post(path, Form({}, {"file": ("image.gz", good)}))
    site.post(path, Form({"metadata": "{"}, {"file": ("image.gz", good)}))
    site.post(path, b"", Content_Type="application/json")
    site.post(path, b"--x\r\nbroken", Content_Type="multipart/form-data; boundary=x")
    _upload(site, version, session, good, GRID)
    for at in ((1, 2), (1, 2, 3, 4), (99, 0, 0), (-1, 0, 0), ("a", 0, 0), ()):
        _click(site, version, session, at)
    for kind in ("scribble", "lasso"):
        _draw(site, kind, session, _packed(np.zeros(SENT)))
        _draw(site, kind, session, good[:-9])
        _draw(site, kind, session, _packed(np.ones((2, 3, 4))), {**GRID, "dimensions": [4, 3, 2]})
        _draw(site, kind, session, good, foreground="perhaps")
        _draw(site, kind, "nobody", good)
        site.post(f"/process_{kind}_interaction/{session}", Form())
    for other in ("nobody", f"{session}-x", "a.b.c"):
        _click(site, version, other, (1, 2, 3))
        _upload(site, version, other, good, GRID)
        site.get(f"{version}/reset_interactions/{other}")


def _flat(site: Site) -> None:
    """A displayed slice of its own."""
    session = _started(site, "/v2")
    plane = site.studies.sent[2]
    told = {
        **GRID,
        "dimensions": list(plane.shape[::-1]),
        "spacing": [0.8, 0.9],
        "origin": [1, 2],
        "direction": [1, 0, 0, 1],
    }
    _upload(site, "/v2", session, _packed(plane), told)
    for at in ((3, 4), (3, 4, 0), (3, 4, 1), (3,)):
        _click(site, "/v2", session, at)
    _draw(site, "lasso", session, _packed(plane > 0), told)


def _click(site: Site, version: str, session: str, at: tuple[Any, ...], foreground: str = "true") -> Answer:
    path = f"{version}/process_point_interaction/{session}"
    if version:
        return site.get(q(path, point=at, foreground=foreground))
    return site.get(q(path, **dict(zip("xyzt", at, strict=False)), foreground=foreground))


def _draw(
    site: Site, kind: str, session: str, content: bytes, told: dict[str, Any] | None = None, foreground: str = "true"
) -> Answer:
    path = q(f"/process_{kind}_interaction/{session}", foreground=foreground)
    return site.post(path, _form(content, GRID if told is None else told))


def _upload(site: Site, version: str, session: str, content: bytes, told: dict[str, Any]) -> Answer:
    return site.post(q(f"{version}/upload_raw/{session}", filename="upload.nii.gz"), _form(content, told))


def _form(content: bytes, told: dict[str, Any]) -> Form:
    return Form({"metadata": json.dumps(told)}, {"file": ("image.gz", content)})


def _packed(voxels: NDArray[Any]) -> bytes:
    return gzip.compress(np.ascontiguousarray(voxels, "<f4").tobytes(), 1, mtime=0)
