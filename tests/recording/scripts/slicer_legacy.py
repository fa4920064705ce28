"""SlicerNNInteractive up to 0.3.2."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.recording.client import Answer, Form, Json, Site
from tests.recording.studies import SENT, npy


def play(site: Site) -> None:
    for base in ("", "/u/ana", "/u/b%C3%A9n%20o"):
        _before_an_image(site, base)
        _annotate(site, base)
    _bad_input(site, "/u/ana")
    _refused_image(site, "/u/ana")
    site.get("/u/ana/")
    site.call("GET", "/upload_image")


def _before_an_image(site: Site, base: str) -> None:
    _point(site, base, [1, 2, 3])
    _box(site, base, [1, 2, 3], [1, 5, 6])
    _form(site, base, "/upload_segment", _packed(np.zeros(SENT, np.uint8)))
    _form(site, base, "/add_scribble_interaction", _packed(np.ones(SENT, np.uint8)), positive_click="True")
    _form(site, base, "/add_lasso_interaction", _packed(np.ones(SENT, np.uint8)), positive_click="False")


def _annotate(site: Site, base: str) -> None:
    _form(site, base, "/upload_image", npy(site.studies.sent))
    _form(site, base, "/upload_segment", _packed(np.zeros(SENT, np.uint8)))
    stroke, contour, segment = (np.zeros(SENT, np.uint8) for _ in range(3))
    stroke[2, 3:9, 5], contour[3, 2:8, 4:12], segment[1:4, 2:5, 6:9] = 1, 1, 1
    _point(site, base, [3, 5, 7])
    _point(site, base, [3, 5, 8], positive=False)
    _box(site, base, [4, 8, 2], [4, 2, 9])
    _box(site, base, [5, 8, 2], [5, 30, -9], positive=False)
    _form(site, base, "/add_scribble_interaction", _packed(stroke), positive_click="True")
    _form(site, base, "/add_lasso_interaction", _packed(contour), positive_click="False")
    _form(site, base, "/upload_segment", _packed(segment))
    _point(site, base, [0, 0, 0])
    _form(site, base, "/upload_segment", _packed(np.zeros(SENT, np.bool_)))
    _point(site, base, [5, 10, 13])
    _form(site, base, "/upload_image", npy(np.asfortranarray(site.studies.sent.astype(np.float64))))
    _point(site, base, [5, 10, 13])


def _bad_input(site: Site, base: str) -> None:
    for at in ([1, 2], [99, 0, 0], "here", [1, 2, None], [1.5, 2, 3]):
        _point(site, base, at)
    _box(site, base, [1, 2, 3], [1])
    _box(site, base, [90, 0, 0], [91, 1, 1])
    for path in ("/add_point_interaction", "/add_bbox_interaction"):
        for body in (b"{", b"[]", b"", b"{}"):
            site.post(base + path, body, Content_Type="application/json")
    other = _packed(np.ones((2, 3, 4), np.uint8))
    good = _packed(np.ones(SENT, np.uint8))
    for path in ("/upload_segment", "/add_scribble_interaction", "/add_lasso_interaction"):
        for content in (other, good[:-9], good + b"x", b"", b"nothing", npy(np.ones(SENT, np.uint8))):
            _form(site, base, path, content)
        site.post(base + path, Form({"positive_click": "true"}))
    for path in ("/add_scribble_interaction", "/add_lasso_interaction"):
        _form(site, base, path, _packed(np.zeros(SENT, np.uint8)))
        _form(site, base, path, good, positive_click="perhaps")
        site.post(base + path, Json({}))


def _refused_image(site: Site, base: str) -> None:
    content = npy(site.studies.sent)
    pickled = npy(np.array([{"a": 1}], object))
    for bad in (
        b"",
        b"nothing",
        content[:-7],
        content + b"x",
        npy(np.ones((2, 3))),
        pickled,
        npy(np.zeros(SENT, np.int16)),
    ):
        _form(site, base, "/upload_image", bad)
        _point(site, base, [1, 2, 3])
    site.post(f"{base}/upload_image", Form())
    site.post(f"{base}/upload_image", b"x", Content_Type="text/plain")
    _form(site, base, "/upload_image", content)
    _point(site, base, [1, 2, 3])


def _point(site: Site, base: str, at: Any, positive: bool = True) -> Answer:
    return site.post(f"{base}/add_point_interaction", Json({"voxel_coord": at, "positive_click": positive}))


def _box(site: Site, base: str, one: Any, two: Any, positive: bool = True) -> Answer:
    body = {"outer_point_one": one, "outer_point_two": two, "positive_click": positive}
    return site.post(f"{base}/add_bbox_interaction", Json(body))


def _form(site: Site, base: str, path: str, content: bytes, **fields: str) -> Answer:
    # The header is true of the file inside the form only.
    return site.post(base + path, Form(fields, {"file": ("volume.npy.gz", content)}), Content_Encoding="gzip")


def _packed(mask: NDArray[Any]) -> bytes:
    return gzip.compress(npy(mask), mtime=0)
