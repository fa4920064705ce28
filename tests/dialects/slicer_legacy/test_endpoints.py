"""The six calls, as they arrive: forms, JSON, packed masks, and errors that the client can show."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nnInteractive.inference.remote.serialization import pack_array

from app.services import Services
from tests.live import FAKE, application

SHAPE = (4, 5, 6)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def image(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


@dataclass
class Person:
    """A viewer at a base address."""

    client: TestClient
    base: str
    shape: tuple[int, ...] = SHAPE

    def form(self, path: str, content: bytes, **fields: str) -> Any:
        headers = {"Content-Encoding": "gzip"}  # of the file inside, not of the form
        return self.client.post(
            self.base + path, files={"file": ("volume.npy.gz", content)}, data=fields, headers=headers
        )

    def upload(self, voxels: np.ndarray | bytes) -> Any:
        self.shape = SHAPE if isinstance(voxels, bytes) else voxels.shape
        return self.form("/upload_image", voxels if isinstance(voxels, bytes) else npy(voxels))

    def segment(self, mask: np.ndarray) -> Any:
        return self.form("/upload_segment", gzip.compress(npy(mask)))

    def drawn(self, kind: str, mask: np.ndarray, positive: str = "True") -> Any:
        return self.form(f"/add_{kind}_interaction", gzip.compress(npy(mask)), positive_click=positive)

    def point(self, at: list[int], positive: bool = True) -> Any:
        return self.client.post(
            f"{self.base}/add_point_interaction", json={"voxel_coord": at, "positive_click": positive}
        )

    def box(self, one: list[int], two: list[int], positive: bool = True) -> Any:
        body = {"outer_point_one": one, "outer_point_two": two, "positive_click": positive}
        return self.client.post(f"{self.base}/add_bbox_interaction", json=body)

    def mask(self, answer: Any) -> np.ndarray:
        """The mask in an answer, as the client unpacks it."""
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip"), answer.text
        assert answer.headers["content-type"] == "application/octet-stream"
        count = int(np.prod(self.shape))
        assert len(answer.content) == (count + 7) // 8  # the HTTP client has undone the gzip
        return np.unpackbits(np.frombuffer(answer.content, np.uint8))[:count].reshape(self.shape)


@dataclass(frozen=True)
class Site:
    client: TestClient
    services: Services
    names: Iterator[int]

    def person(self) -> Person:
        """Somebody new."""
        return Person(self.client, f"/u/user {next(self.names)}")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    app = application(tmp_path_factory.mktemp("site") / "workspace", FAKE)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield Site(client, app.state.services, iter(range(10**6)))


def told(answer: Any) -> str:
    """An error as the client gets it."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    body = answer.json()
    assert body.keys() == {"status", "message"}
    assert body["status"] == "error"
    return body["message"]


def cube(shape: tuple[int, ...], at: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(max(0, x - 2), x + 3) for x in at)] = 1
    return mask


def test_the_example_of_the_protocol(site):
    ana = site.person()
    assert ana.upload(image()).json() == {"status": "ok"}
    assert ana.segment(np.zeros(SHAPE, np.uint8)).json() == {"status": "ok"}
    one = np.zeros(SHAPE, np.uint8)
    one[1, 2, 3] = 1
    answer = ana.drawn("scribble", one)
    assert answer.content == bytes(5) + b"\x04" + bytes(9)  # bit 45, most significant first
    assert ana.mask(answer)[1, 2, 3] == 1


SHAPES = st.tuples(*[st.integers(1, 11)] * 3).filter(lambda shape: np.prod(shape) > 1)
QUICK = settings(max_examples=20, deadline=None)


@QUICK
@given(SHAPES, st.data())
def test_prompts_on_volumes_of_any_shape(site, shape, data):
    ana = site.person()
    ana.upload(image(shape))
    start = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1])))
    assert ana.segment(start).json() == {"status": "ok"}
    wanted = start.copy()
    at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    wanted[cube(shape, at) > 0] = 1
    np.testing.assert_array_equal(ana.mask(ana.point(list(at))), wanted)
    axis = data.draw(st.integers(0, 2))
    drawn = np.zeros(shape, np.uint8)
    slab = np.moveaxis(drawn, axis, 0)[data.draw(st.integers(0, shape[axis] - 1))]
    slab[...] = data.draw(hnp.arrays(np.uint8, slab.shape, elements=st.sampled_from([0, 1, 255])).filter(np.any))
    for kind, positive in (("scribble", "False"), ("lasso", "True")):
        wanted[drawn != 0] = positive == "True"
        np.testing.assert_array_equal(ana.mask(ana.drawn(kind, drawn, positive)), wanted)


@pytest.mark.parametrize(
    ("one", "two", "where"),
    [
        ([1, 1, 1], [1, 3, 4], np.s_[1:2, 1:4, 1:5]),
        ([1, 3, 4], [1, 1, 1], np.s_[1:2, 1:4, 1:5]),
        ([2, 4, 0], [2, 0, 3], np.s_[2:3, 0:5, 0:4]),
        ([-7, 2, -1], [1, 2, 99], np.s_[0:2, 2:3, 0:6]),
    ],
)
def test_the_corners_of_a_box_belong_to_it(site, one, two, where):
    ana = site.person()
    ana.upload(image())
    wanted = np.zeros(SHAPE, np.uint8)
    wanted[where] = 1
    np.testing.assert_array_equal(ana.mask(ana.box(one, two)), wanted)


def test_an_empty_segment_starts_over(site):
    ana = site.person()
    ana.upload(image())
    ana.point([0, 0, 0])
    ana.segment(np.zeros(SHAPE, np.uint8))
    np.testing.assert_array_equal(ana.mask(ana.point([3, 4, 5])), cube(SHAPE, (3, 4, 5)))


@pytest.mark.parametrize("text", ["True", "true", "1", "yes", "YES"])
def test_what_counts_as_positive(site, text):
    ana = site.person()
    ana.upload(image())
    assert ana.mask(ana.drawn("scribble", np.ones(SHAPE, np.uint8), text)).all()
    assert not ana.mask(ana.drawn("scribble", np.ones(SHAPE, np.uint8), "False")).any()


def test_without_an_image_the_client_is_told_to_send_it(site):
    ana = site.person()
    mask = np.ones(SHAPE, np.uint8)
    for answer in (ana.point([1, 1, 1]), ana.box([1, 1, 1], [1, 2, 2]), ana.segment(mask), ana.drawn("lasso", mask)):
        assert told(answer) == "No image uploaded"


HUGE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (40000, 40000, 1), }\n"
IMAGES = {
    "NaN": npy(np.where(image() == 3, np.nan, 1.0)),
    "constant": npy(np.full(SHAPE, 7)),
    "two axes": npy(image()[0]),
    "a huge header": b"\x93NUMPY\x01\x00" + len(HUGE).to_bytes(2, "little") + HUGE,
    "a pickle": npy(np.array([[[{}]]], dtype=object)),
    "cut off": npy(image())[:-5],
    "nothing": b"",
    "gzip": gzip.compress(npy(image())),
}


@pytest.mark.parametrize("content", IMAGES.values(), ids=IMAGES)
def test_a_refused_image_is_not_asked_for_again(site, content):
    """The client would send it again and again, without an end."""
    ana, bystander = site.person(), site.person()
    bystander.upload(image())
    bystander.point([0, 0, 0])
    ana.upload(image())
    assert "No image" not in told(ana.upload(content))
    assert told(ana.point([1, 1, 1])).startswith("The image was refused")
    assert told(ana.segment(np.ones(SHAPE, np.uint8))).startswith("The image was refused")
    assert ana.upload(image()).json() == {"status": "ok"}
    np.testing.assert_array_equal(ana.mask(ana.point([1, 1, 1])), cube(SHAPE, (1, 1, 1)))
    both = cube(SHAPE, (0, 0, 0)) | cube(SHAPE, (3, 4, 5))
    np.testing.assert_array_equal(bystander.mask(bystander.point([3, 4, 5])), both)


def test_a_form_without_a_file(site):
    assert "no file" in told(site.client.post("/u/nobody/upload_image", files={"other": b"x"}))
    assert "no file" in told(site.client.post("/u/nobody/upload_image", content=b"x"))


BOMB = gzip.compress(npy(np.zeros(SHAPE, np.uint8)) + bytes(2**28))


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.point([4, 0, 0]),
        lambda one: one.point([0, -1, 0]),
        lambda one: one.point([1, 2]),
        lambda one: one.point(["a", 1, 1]),
        lambda one: one.box([9, 0, 0], [9, 2, 2]),
        lambda one: one.box([0, 0, -5], [0, 2, -3]),
        lambda one: one.drawn("scribble", np.zeros(SHAPE, np.uint8)),
        lambda one: one.drawn("lasso", np.ones((4, 5, 5), np.uint8)),
        lambda one: one.drawn("scribble", np.ones((5, 6), np.uint8)),
        lambda one: one.segment(np.ones((6, 5, 4), np.uint8)),
        lambda one: one.form("/add_scribble_interaction", b"not gzip", positive_click="True"),
        lambda one: one.form("/add_scribble_interaction", BOMB, positive_click="True"),
        lambda one: one.form("/upload_segment", gzip.compress(npy(np.ones(SHAPE)))[:-9]),
    ],
)
def test_what_cannot_be_used_changes_nothing(site, ask):
    ana = site.person()
    ana.upload(image())
    ana.point([0, 0, 0])
    assert told(ask(ana)) != "No image uploaded"
    both = cube(SHAPE, (0, 0, 0)) | cube(SHAPE, (3, 4, 5))
    np.testing.assert_array_equal(ana.mask(ana.point([3, 4, 5])), both)


def test_bodies_that_are_no_json(site):
    for body in (b"{", b"\xff\xfe", b"[]", b"1", b'"voxel_coord"', b" " * 70_000):
        told(site.client.post("/add_point_interaction", content=body))


def test_a_request_of_the_other_protocol_without_its_lease_is_410(site):
    for path, body in (
        ("/add_point_interaction", {"coordinates": [1, 1, 1], "include_interaction": True}),
        ("/add_bbox_interaction", {"bbox_coords": [[0, 1]] * 3, "include_interaction": True}),
    ):
        assert site.client.post(path, json=body).status_code == 410
    headers = {"X-Meta": json.dumps({"include_interaction": True}), "Content-Type": "application/octet-stream"}
    for kind in ("scribble", "lasso"):
        packed = pack_array(np.ones(SHAPE, np.uint8))
        answer = site.client.post(f"/add_{kind}_interaction", content=packed, headers=headers)
        assert answer.status_code == 410
        assert isinstance(answer.json()["detail"], str)


def test_both_protocols_at_once(site):
    ana = site.person()
    ana.upload(image())
    lease = {"X-Lease-Token": site.client.post("/claim").json()["lease_token"]}
    site.client.post("/set_image", content=pack_array(image()[None]), headers=lease)
    site.client.post("/set_target_buffer", json={"shape": list(SHAPE), "dtype": "uint8"}, headers=lease)
    body = {"coordinates": [3, 4, 5], "include_interaction": True}
    other = site.client.post("/add_point_interaction", json=body, headers=lease)
    assert json.loads(other.headers["x-meta"])["bbox"] == [[1, 4], [2, 5], [3, 6]]
    np.testing.assert_array_equal(ana.mask(ana.point([0, 0, 0])), cube(SHAPE, (0, 0, 0)))
