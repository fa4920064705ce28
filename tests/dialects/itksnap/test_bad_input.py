"""Whatever is wrong is answered with a status other than 200 and one plain sentence, and harms nobody.

Protocol: docs/protocols/itksnap.md, section 5.
"""

from __future__ import annotations

import gzip
import io
import json
import socket
from typing import Any

import numpy as np
import pytest

from tests.dialects.itksnap.replica import Answer, Image, ItkSnap, Wire, packed
from tests.dialects.itksnap.site import SHAPE, Site, cube, image, opened

Sent = tuple[bytes, str]


@pytest.fixture
def snap(site: Site) -> ItkSnap:
    """A session with an image and a click in it."""
    snap = site.snap()
    snap.click(image(), (2, 2, 2))
    return snap


@pytest.fixture(autouse=True)
def _nobody_else_notices(site: Site):
    """Someone else's session is as it was, whatever a test does."""
    other, open_image = site.snap(), image(seed=9)
    other.click(open_image, (9, 6, 3))
    yield
    after = other.click(open_image, (1, 1, 1))
    np.testing.assert_array_equal(after, cube((9, 6, 3)) | cube((1, 1, 1)))


def refused(answer: Answer, status: int, words: str = "") -> None:
    assert answer.status == status, answer.body
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert words in detail
    assert 0 < len(detail) < 300
    assert "\n" not in detail


def metadata(**changes: Any) -> str:
    return json.dumps({**json.loads(image().metadata()), **changes})


class TestSessions:
    @pytest.mark.parametrize("session", ["nobody", "7d1c0a5e-4b0f-4f57-9c1b-0a2f3e4d5c6b", "a.b.c", "%2e%2e", "ä"])
    def test_unknown_ones_are_404(self, site: Site, session: str) -> None:
        from urllib.parse import quote

        wire, name = Wire(site.port), quote(session, safe="%")
        for path in (
            f"/process_point_interaction/{name}?x=1&y=1&z=1",
            f"/v2/process_point_interaction/{name}?point=1&point=1&point=1",
            f"/reset_interactions/{name}",
            f"/v2/reset_interactions/{name}",
        ):
            refused(wire.get(path), 404)
        for path in ("upload_raw", "v2/upload_raw", "process_scribble_interaction", "process_lasso_interaction"):
            refused(wire.post_voxels(f"/{path}/{name}", packed(np.ones(SHAPE)), image().metadata()), 404)
        assert wire.get(f"/v2/end_session/{name}").status == 200  # the client doesn't look

    def test_a_forged_one_is_404(self, site: Site, snap: ItkSnap) -> None:
        body, _, signature = snap.session.rpartition(".")
        forged = f"{body}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}"
        refused(snap.wire.get(f"/reset_interactions/{forged}"), 404, "no such session")

    @pytest.mark.parametrize("model", ["SAM2", "bands", "Histogram+GraphCut", "%00", "x" * 500])
    def test_unknown_models_are_404(self, site: Site, model: str) -> None:
        answer = Wire(site.port).get(f"/v2/start_session/{model}")
        assert answer.status == 404
        assert "there are: nnInteractive, cubes" in answer.json()["detail"]

    def test_an_untrained_model_says_so(self, site: Site) -> None:
        refused(Wire(site.port).get("/v2/start_session/untrained"), 503, "no weights")

    def test_nothing_works_before_an_image(self, site: Site) -> None:
        wire = Wire(site.port)
        session = wire.get("/start_session").json()["session_id"]
        words = "no image in this session: switch time point or reload"
        refused(wire.get(f"/process_point_interaction/{session}?x=1&y=1&z=1"), 409, words)
        refused(wire.get(f"/reset_interactions/{session}"), 409, words)
        sent = (packed(np.ones(SHAPE)), image().metadata())
        refused(wire.post_voxels(f"/process_scribble_interaction/{session}", *sent), 409, words)

    def test_wrong_methods_and_paths(self, site: Site, snap: ItkSnap) -> None:
        """Strokes have no form with /v2/, as on the real server."""
        sent = (packed(np.ones(SHAPE)), image().metadata())
        assert snap.wire.post_voxels(f"/v2/process_scribble_interaction/{snap.session}", *sent).status == 404
        assert snap.wire.ask("POST", f"/reset_interactions/{snap.session}").status == 405
        assert snap.wire.get(f"/upload_raw/{snap.session}").status == 405


class TestPoints:
    @pytest.mark.parametrize("at", [(13, 0, 0), (0, 9, 0), (0, 0, 5), (-1, 0, 0), (10**30, 0, 0), (0, 0, 2**63)])
    def test_outside_is_400(self, snap: ItkSnap, at: tuple[int, int, int]) -> None:
        x, y, z = at
        refused(snap.wire.get(f"/process_point_interaction/{snap.session}?x={x}&y={y}&z={z}"), 400, "13 x 9 x 5")
        query = f"point={x}&point={y}&point={z}&foreground=true"
        refused(snap.wire.get(f"/v2/process_point_interaction/{snap.session}?{query}"), 400, "outside")

    @pytest.mark.parametrize("count", [0, 1, 2, 4, 50])
    def test_the_wrong_number_of_coordinates_is_422(self, snap: ItkSnap, count: int) -> None:
        query = "&".join(["point=1"] * count)
        refused(snap.wire.get(f"/v2/process_point_interaction/{snap.session}?{query}"), 422)

    @pytest.mark.parametrize(
        "query", ["x=1&y=1", "x=1&y=1&z=a", "x=1&y=1&z=1.5", "x=1&y=1&z=", "x=1&y=1&z=1&foreground=perhaps"]
    )
    def test_what_is_no_number_is_422(self, snap: ItkSnap, query: str) -> None:
        refused(snap.wire.get(f"/process_point_interaction/{snap.session}?{query}"), 422)

    def test_a_refused_one_changes_nothing(self, snap: ItkSnap) -> None:
        snap.wire.get(f"/process_point_interaction/{snap.session}?x=99&y=1&z=1&foreground=true")
        assert snap._sent is not None
        np.testing.assert_array_equal(snap.click(snap._sent, (9, 6, 3)), cube((2, 2, 2)) | cube((9, 6, 3)))


VOXELS = np.random.default_rng(0).normal(size=SHAPE).astype("<f4")
BOMB = io.BytesIO()
with gzip.GzipFile(fileobj=BOMB, mode="wb") as _file:
    for _ in range(128):
        _file.write(bytes(2**22))

BROKEN: dict[str, Sent] = {
    "no gzip": (VOXELS.tobytes(), metadata()),
    "nothing": (b"", metadata()),
    "cut off": (packed(VOXELS)[:-20], metadata()),
    "too short": (packed(VOXELS[:-1]), metadata()),
    "too long": (packed(VOXELS), metadata(dimensions=[12, 9, 5])),
    "a bomb": (BOMB.getvalue(), metadata()),
    "claims a lot": (packed(VOXELS), metadata(dimensions=[40000, 40000, 1])),
    "claims without end": (packed(VOXELS), metadata(dimensions=[2**62, 2**62, 2**62])),
    "claims what may be": (packed(VOXELS), metadata(dimensions=[16000, 16000, 1])),
    "colours": (packed(np.zeros((*SHAPE, 3))), metadata(components_per_pixel=3)),
    "no json": (packed(VOXELS), "dimensions: 13, 9, 5"),
    "deep json": (packed(VOXELS), "[" * 50_000),
    "no dimensions": (packed(VOXELS), "{}"),
    "four dimensions": (packed(VOXELS), metadata(dimensions=[13, 9, 5, 1])),
    "objects": (packed(VOXELS), metadata(component_type="object")),
}


class TestUploads:
    @pytest.mark.parametrize("kind", BROKEN)
    def test_broken_images_are_400(self, snap: ItkSnap, kind: str) -> None:
        refused(snap.wire.post_voxels(f"/upload_raw/{snap.session}", *BROKEN[kind]), 400)

    @pytest.mark.parametrize("kind", BROKEN)
    @pytest.mark.parametrize("tool", ["scribble", "lasso"])
    def test_broken_strokes_are_400_and_change_nothing(self, snap: ItkSnap, kind: str, tool: str) -> None:
        refused(snap.wire.post_voxels(f"/process_{tool}_interaction/{snap.session}", *BROKEN[kind]), 400)
        assert snap._sent is not None
        np.testing.assert_array_equal(snap.click(snap._sent, (9, 6, 3)), cube((2, 2, 2)) | cube((9, 6, 3)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
    def test_images_that_no_model_can_take_are_400(self, snap: ItkSnap, value: float) -> None:
        voxels = np.full(SHAPE, value)
        if not np.isfinite(value):
            voxels[1:] = VOXELS[1:]
        refused(snap.wire.post_voxels(f"/upload_raw/{snap.session}", packed(voxels), metadata()), 400)

    def test_after_a_refused_image_there_is_no_mask_of_the_one_before(self, snap: ItkSnap) -> None:
        """ITK-SNAP shows the new image by then, and would read past the end of a mask that is too short for it."""
        snap.wire.post_voxels(f"/upload_raw/{snap.session}", *BROKEN["cut off"])
        refused(snap.wire.get(f"/process_point_interaction/{snap.session}?x=1&y=1&z=1"), 409, "no image")
        again = Image(VOXELS)
        np.testing.assert_array_equal(snap.click(again, (2, 2, 2)), cube((2, 2, 2)))

    def test_a_stroke_on_another_grid_is_400(self, snap: ItkSnap) -> None:
        other = image((9, 5, 13))
        answer = snap.wire.post_voxels(
            f"/process_scribble_interaction/{snap.session}", packed(other.voxels), other.metadata()
        )
        refused(answer, 400, "13 x 5 x 9")

    def test_an_empty_stroke_is_400(self, snap: ItkSnap) -> None:
        sent = (packed(np.zeros(SHAPE)), metadata())
        refused(snap.wire.post_voxels(f"/process_scribble_interaction/{snap.session}", *sent), 400, "nothing was drawn")

    def test_missing_parts_are_422(self, snap: ItkSnap) -> None:
        for body in (
            b'--b\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{}\r\n--b--\r\n',
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="image.gz"\r\n\r\nx\r\n--b--\r\n',
            b"--b--\r\n",
            b"",
        ):
            for path in ("upload_raw", "process_scribble_interaction"):
                answer = snap.wire.ask("POST", f"/{path}/{snap.session}", body, "multipart/form-data; boundary=b")
                refused(answer, 422, "no part")
        refused(snap.wire.ask("POST", f"/upload_raw/{snap.session}", b"{}", "application/json"), 422)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_a_form_that_breaks_off_is_refused(self, snap: ItkSnap, share: float) -> None:
        body = _form(packed(VOXELS), metadata())
        cut = body[: int(len(body) * share)]
        answer = snap.wire.ask("POST", f"/upload_raw/{snap.session}", cut, "multipart/form-data; boundary=b")
        assert answer.status in (400, 422)
        assert isinstance(answer.json()["detail"], str)

    @pytest.mark.parametrize("body", [b"nonsense", b"--c\r\n\r\n", b"\xff" * 1000])
    def test_what_is_no_form_is_refused(self, snap: ItkSnap, body: bytes) -> None:
        answer = snap.wire.ask("POST", f"/upload_raw/{snap.session}", body, "multipart/form-data; boundary=b")
        assert answer.status in (400, 422)

    def test_a_client_that_dies_in_the_middle(self, site: Site, snap: ItkSnap) -> None:
        body = _form(packed(VOXELS), metadata())
        head = (
            f"POST /upload_raw/{snap.session} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", site.port)) as dying:
            dying.sendall(head.encode() + body[: len(body) // 2])
        assert Wire(site.port).get("/status").status == 200

    def test_more_than_the_setting_allows(self, tmp_path) -> None:
        with opened(tmp_path, labels={"max_upload_bytes": 2**20}) as small:
            wire = Wire(small.port)
            session = wire.get("/start_session").json()["session_id"]
            noise = np.random.default_rng(0).normal(size=(70, 70, 70))
            answer = wire.post_voxels(f"/upload_raw/{session}", packed(noise), Image(noise).metadata())
            refused(answer, 400, "max_upload_bytes")
            flat = np.zeros((70, 70, 70))
            refused(
                wire.post_voxels(f"/upload_raw/{session}", packed(flat), Image(flat).metadata()),
                400,
                "max_upload_bytes",
            )


def _form(content: bytes, about: str) -> bytes:
    return b"".join(
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="image.gz"\r\n',
            b"Content-Type: application/gzip\r\n\r\n",
            content,
            b'\r\n--b\r\nContent-Disposition: form-data; name="metadata"\r\nContent-Type: application/json\r\n\r\n',
            about.encode(),
            b"\r\n--b--\r\n",
        )
    )
