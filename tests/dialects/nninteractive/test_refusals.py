"""What can't be used is refused in words and changes nothing: not here, and not in anybody else's session."""

from __future__ import annotations

import struct

import blosc2
import numpy as np
import pytest
from nnInteractive.inference.remote.serialization import pack_array

from tests.dialects.nninteractive.site import FLAGS, SHAPE, image, opened

WHOLE = {"shape": list(SHAPE), "dtype": "uint8"}
MASK = np.ones(SHAPE, np.uint8)


def huge(shape: tuple[int, ...], frame: bytes = b"") -> bytes:
    """A header that declares more than there is."""
    start = struct.pack("<4sBBBB7s", b"NNIA", 1, 1, len(shape), 7, b"float32") + struct.pack(f"<{len(shape)}q", *shape)
    size = int(np.prod([int(n) for n in shape], dtype=object)) * 4
    return start + struct.pack("<IQQ", 1, min(size, 2**63), len(frame)) + frame


def spoilt(value: float) -> np.ndarray:
    voxels = image().astype(np.float32)
    voxels[0, 1, 2, 3] = value
    return voxels


IMAGES = {
    "NaN": spoilt(np.nan),
    "infinite": spoilt(np.inf),
    "constant": np.full((1, *SHAPE), 5, np.int16),
    "two channels": np.concatenate([image(), image()]),
    "no channel": image()[0],
    "five axes": image()[None],
    "a huge header": huge((1, 40000, 40000, 1)),
    "a header beyond all counting": huge((1, 2**62, 2**62, 2**62)),
    "a bomb": pack_array(np.zeros((1, 1024, 1024, 128), np.float32)),
    "cut off": pack_array(image())[:-9],
    "nothing": b"",
    "text": b"hello",
    "complex": b"NNIA\x01\x01\x04\x09complex64" + pack_array(image())[13:],
}


@pytest.mark.parametrize("body", IMAGES.values(), ids=IMAGES)
def test_images(tmp_path_factory, body):
    with opened(tmp_path_factory.mktemp("small") / "workspace", labels={"max_upload_bytes": 2**28}) as site:
        bystander = site.opened()
        bystander.take(bystander.point([1, 1, 1]))
        before = bystander.buffer.copy()
        seated = site.claim()
        answer = seated.binary("/set_image", body, image_properties={})
        assert answer.status_code == 400
        assert isinstance(answer.json()["detail"], str)
        assert seated.point([1, 1, 1]).status_code == 409
        assert seated.binary("/set_image", image()).status_code == 200
        np.testing.assert_array_equal(bystander.buffer, before)
        bystander.take(bystander.point([4, 6, 9]))
        assert bystander.buffer[4, 6, 9] == 1


def box(*sides: list[float]) -> dict[str, object]:
    return {"bbox_coords": list(sides), **FLAGS}


PROMPTS = {
    "a point outside": ("/add_point_interaction", {"coordinates": [6, 0, 0], **FLAGS}),
    "a point before": ("/add_point_interaction", {"coordinates": [0, -1, 0], **FLAGS}),
    "a point far away": ("/add_point_interaction", {"coordinates": [1e300, 0, 0], **FLAGS}),
    "a point in the plane": ("/add_point_interaction", {"coordinates": [1, 2], **FLAGS}),
    "a point of text": ("/add_point_interaction", {"coordinates": "abc", **FLAGS}),
    "include or exclude": ("/add_point_interaction", {"coordinates": [1, 2, 3]}),
    "an inverted box": ("/add_bbox_interaction", box([3, 2], [0, 4], [0, 4])),
    "an empty box": ("/add_bbox_interaction", box([2, 2], [0, 4], [0, 4])),
    "a box outside": ("/add_bbox_interaction", box([9, 10], [0, 4], [0, 4])),
    "a flat box": ("/add_bbox_interaction", box([1, 2], [0, 4])),
    "no box": ("/add_bbox_interaction", FLAGS),
    "no zoom": ("/set_do_autozoom", {}),
    "another shape": ("/set_target_buffer", {"shape": [6, 9, 12], "dtype": "uint8"}),
    "a flat target": ("/set_target_buffer", {"shape": [6, 9], "dtype": "uint8"}),
    "a huge target": ("/set_target_buffer", {"shape": [40000, 40000, 1], "dtype": "uint8"}),
    "a negative target": ("/set_target_buffer", {"shape": [-6, 9, 13], "dtype": "uint8"}),
    "a target of floats": ("/set_target_buffer", {"shape": list(SHAPE), "dtype": "float32"}),
    "a target of objects": ("/set_target_buffer", {"shape": list(SHAPE), "dtype": "object"}),
    "a target of nonsense": ("/set_target_buffer", {"shape": list(SHAPE), "dtype": "f,("}),
    "a target without type": ("/set_target_buffer", {"shape": list(SHAPE)}),
}


@pytest.mark.parametrize(("path", "body"), PROMPTS.values(), ids=PROMPTS)
def test_json(site, path, body):
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    before = seated.buffer.copy()
    answer = seated.json(path, body)
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["detail"], str)
    seated.take(seated.json("/undo", {}))  # the point before is still what undo takes back
    assert before.any()
    assert not seated.buffer.any()


DRAWINGS = {
    "another shape": (MASK[:, :, :-1], {}),
    "another shape than its box": (MASK, {"interaction_bbox": [[0, 1], [0, 9], [0, 13]]}),
    "outside": (MASK[:1], {"interaction_bbox": [[6, 7], [0, 9], [0, 13]]}),
    "before": (MASK[:1], {"interaction_bbox": [[-1, 0], [0, 9], [0, 13]]}),
    "inverted": (MASK[:1], {"interaction_bbox": [[1, 0], [0, 9], [0, 13]]}),
    "a box in the plane": (MASK[:1], {"interaction_bbox": [[0, 9], [0, 13]]}),
    "nothing drawn": (MASK * 0, {}),
    "four axes": (MASK[None], {}),
    "a huge header": (huge((40000, 40000, 1)), {}),
    "a bomb": (pack_array(np.zeros((512, 512, 512), np.uint8)), {}),
    "cut off": (pack_array(MASK)[:-3], {}),
    "no array": (b"", {}),
    "no flag": (MASK, {"include_interaction": None}),
}


@pytest.mark.parametrize("kind", ["scribble", "lasso"])
@pytest.mark.parametrize(("body", "meta"), DRAWINGS.values(), ids=DRAWINGS)
def test_drawings(site, kind, body, meta):
    seated = site.opened()
    answer = seated.binary(f"/add_{kind}_interaction", body, **{**FLAGS, **meta})
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["detail"], str)
    assert seated.take(seated.json("/undo", {}))["ran_prediction"] is False


@pytest.mark.parametrize("body", [MASK[:-1], MASK[0], huge((40000, 40000, 1)), b"NNIA", pack_array(MASK)[:-3]])
def test_initial_segmentations(site, body):
    seated = site.opened()
    seated.take(seated.point([1, 1, 1]))
    assert seated.binary("/add_initial_seg_interaction", body).status_code == 400
    assert seated.take(seated.json("/undo", {}))["ran_prediction"] is True


def test_what_is_no_json_is_422(site):
    seated = site.opened()
    for body in (b"{", b"[1]", b'"text"'):
        headers = {"Content-Type": "application/json", **seated.headers}
        answer = site.client.post("/add_point_interaction", content=body, headers=headers)
        assert answer.status_code == 422, body
        assert isinstance(answer.json()["detail"], str)


def test_a_header_that_is_no_json_is_400(site):
    seated = site.opened()
    for meta in ("{", "[1]", "null", '{"image_properties": 3}'):
        headers = {"X-Meta": meta, **seated.headers}
        answer = site.client.post("/set_image", content=pack_array(image()), headers=headers)
        assert answer.status_code == 400, meta
        assert "X-Meta" in answer.json()["detail"]


@pytest.mark.parametrize("spacing", [None, [], [1, 2], ["a", 1, 1], [0, 1, 1], [-1, 1, 1], [float("nan"), 1, 1], 3])
def test_a_spacing_that_makes_no_sense_is_no_reason_to_refuse_an_image(site, spacing):
    seated = site.claim()
    assert seated.binary("/set_image", image(), image_properties={"spacing": spacing}).status_code == 200


def test_calls_before_their_time(site):
    seated = site.claim()
    assert seated.json("/set_target_buffer", WHOLE).status_code == 409
    assert seated.point([1, 1, 1]).status_code == 409
    assert seated.json("/predict", {}).status_code == 409
    assert seated.binary("/add_scribble_interaction", MASK, **FLAGS).status_code == 409
    assert seated.take(seated.json("/undo", {}))["ran_prediction"] is False
    assert seated.json("/reset_interactions", {}).json() == {}
    assert seated.json("/set_do_autozoom", {"do_autozoom": False}).json() == {}
    assert seated.binary("/set_image", image()).status_code == 200
    assert "target buffer" in seated.point([1, 1, 1]).json()["detail"]


def test_memory_that_is_used_up_is_not_a_full_house(tmp_path):
    with opened(tmp_path / "workspace", sessions={"max_bytes": 2**26}) as site:
        seated = site.claim()
        answer = seated.binary("/set_image", np.zeros((1, 256, 256, 300), np.uint8))
        assert answer.status_code == 507
        assert "sessions.max_bytes" in answer.json()["detail"]


def test_an_upload_that_is_too_large(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (1, 128, 128, 128), dtype=np.uint8)
    with opened(tmp_path / "workspace", labels={"max_upload_bytes": 2**20}) as site:
        answer = site.claim().binary("/set_image", noise)
        assert answer.status_code == 400
        assert "max_upload_bytes" in answer.json()["detail"]


def test_frames_of_lz4_are_read_too(site):
    assert site.claim().binary("/set_image", pack_array(image(), codec=blosc2.Codec.LZ4)).status_code == 200
