"""What a person does in ITK-SNAP, with both generations of its client (docs/protocols/itksnap.md, sections 2 and 3)."""

from __future__ import annotations

import threading
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.volume import Geometry
from app.models.device import Priority
from tests.dialects.itksnap.replica import Image, ItkSnap, Refused, Wire, packed
from tests.dialects.itksnap.site import SHAPE, Site, cube, image, opened

Generation = Literal[1, 2]
BOTH = pytest.mark.parametrize("generation", [1, 2])


class TestBeforeAnything:
    def test_status_passes_the_version_gate(self, site: Site) -> None:
        answer = Wire(site.port).get("/status")
        told = answer.json()
        assert (told["status"], told["version"]) == ("ok", "0.1.6")
        assert told["server"].startswith("segloop ")
        assert answer.headers["content-type"] == "application/json"

    def test_models_always_have_nninteractive_with_lasso(self, site: Site) -> None:
        listed = {entry["id"]: entry for entry in Wire(site.port).get("/v2/models").json()["models"]}
        drawn = {"dimensions": 3, "channels": [1], "interactions": ["point", "scribble", "lasso"]}
        assert listed == {"nnInteractive": {"id": "nnInteractive", **drawn}, "cubes": {"id": "cubes", **drawn}}

    def test_a_server_without_such_a_model_lists_none(self, tmp_path) -> None:
        with opened(tmp_path, models={"bands": {"type": "fake_automatic"}}) as bare:
            wire = Wire(bare.port)
            assert wire.get("/v2/models").json() == {"models": []}
            assert wire.get("/start_session").status == 404

    def test_status_answers_while_another_session_is_inferring(self, site: Site) -> None:
        enough = threading.Event()
        busy = threading.Thread(
            target=site.services.device.run, args=(lambda: enough.wait(30), Priority.PROMPT, "someone")
        )
        waiting = threading.Thread(target=site.snap().click, args=(image(), (1, 1, 1)))
        busy.start()
        waiting.start()
        try:
            wire = Wire(site.port)
            for path in ("/status", "/v2/models") * 3:
                assert wire.get(path).status == 200
                # Both are still at it, so the answer waited for neither of them.
                assert busy.is_alive()
                assert waiting.is_alive()
            assert site.services.device.waiting <= 1  # the click, and nothing of what was asked
        finally:
            enough.set()
            busy.join()
            waiting.join()


@BOTH
class TestAnHour:
    def test_the_clicked_voxel_is_number_x_plus_nx_times_y_plus_ny_z(self, site: Site, generation: Generation) -> None:
        """The model marks a cube, the voxel in its middle was clicked (docs/protocols/itksnap.md, section 2.5)."""
        x, y, z = 10, 3, 1
        mask = site.snap(generation).click(image(), (x, y, z))
        assert mask.ravel()[x + 13 * (y + 9 * z)] == 1
        np.testing.assert_array_equal(mask, cube((x, y, z)))

    def test_clicks_add_up_and_take_away(self, site: Site, generation: Generation) -> None:
        snap, open_image = site.snap(generation), image()
        snap.click(open_image, (2, 2, 2))
        both = snap.click(open_image, (9, 6, 3))
        np.testing.assert_array_equal(both, cube((2, 2, 2)) | cube((9, 6, 3)))
        less = snap.click(open_image, (2, 2, 2), foreground=False)
        np.testing.assert_array_equal(less, cube((9, 6, 3)) & (1 - cube((2, 2, 2))))

    def test_strokes_paint_and_erase(self, site: Site, generation: Generation) -> None:
        snap, open_image = site.snap(generation), image()
        stroke = np.zeros(SHAPE)
        stroke[1:3, 4, 5:9] = 1
        np.testing.assert_array_equal(snap.draw(open_image, stroke), stroke)
        outline = np.zeros(SHAPE)
        outline[:, 4, 6:8] = 1
        np.testing.assert_array_equal(snap.draw(open_image, outline, "lasso"), np.maximum(stroke, outline))
        erased = snap.draw(open_image, outline, "scribble", foreground=False)
        np.testing.assert_array_equal(erased, stroke * (1 - outline))

    def test_another_label_starts_empty(self, site: Site, generation: Generation) -> None:
        snap, open_image = site.snap(generation), image()
        snap.click(open_image, (2, 2, 2), label=1)
        np.testing.assert_array_equal(snap.click(open_image, (9, 6, 3), label=2), cube((9, 6, 3)))
        np.testing.assert_array_equal(snap.click(open_image, (2, 2, 2), label=1), cube((2, 2, 2)))

    def test_another_image_starts_empty_in_the_same_session(self, site: Site, generation: Generation) -> None:
        snap = site.snap(generation)
        snap.click(image(), (2, 2, 2))
        other = image((7, 6, 5), seed=1)
        np.testing.assert_array_equal(snap.click(other, (4, 1, 6)), cube((4, 1, 6), (7, 6, 5)))

    def test_two_people_do_not_see_each_other(self, site: Site, generation: Generation) -> None:
        anna, bo = site.snap(generation), site.snap(generation)
        hers, his = image(), image((7, 6, 5), seed=1)
        for _ in range(2):
            np.testing.assert_array_equal(anna.click(hers, (2, 2, 2)), cube((2, 2, 2)))
            np.testing.assert_array_equal(bo.click(his, (4, 1, 6)), cube((4, 1, 6), (7, 6, 5)))
        assert anna.session != bo.session

    def test_many_at_once_each_get_their_own(self, site: Site, generation: Generation) -> None:
        problems: list[Exception] = []

        def work(number: int) -> None:
            snap, own, so_far = site.snap(generation), image(seed=number), np.zeros(SHAPE, np.uint8)
            try:
                for z in range(4):
                    so_far |= cube((number, number, z))
                    np.testing.assert_array_equal(snap.click(own, (number, number, z)), so_far)
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not problems

    def test_the_server_chosen_again_tells_how_to_send_the_image(self, site: Site, generation: Generation) -> None:
        """The session is forgotten; the client takes its image for sent (docs/protocols/itksnap.md, section 3)."""
        snap, open_image = site.snap(generation), image()
        snap.click(open_image, (2, 2, 2))
        snap.choose_server_again()
        with pytest.raises(Refused, match=r"409.*no image in this session: switch time point or reload"):
            snap.click(open_image, (2, 2, 2))
        reloaded = Image(open_image.voxels)
        np.testing.assert_array_equal(snap.click(reloaded, (2, 2, 2)), cube((2, 2, 2)))

    def test_memory_taken_away_is_not_noticed(self, site: Site, generation: Generation) -> None:
        snap, open_image = site.snap(generation), image()
        snap.click(open_image, (2, 2, 2))
        site.services.prompting.close_all()
        np.testing.assert_array_equal(snap.click(open_image, (9, 6, 3)), cube((2, 2, 2)) | cube((9, 6, 3)))


def test_paths_of_the_other_generation_lead_to_the_same(site: Site) -> None:
    wire, sent = Wire(site.port), image()
    session = wire.get("/start_session").json()["session_id"]
    told = wire.post_voxels(f"/v2/upload_raw/{session}", packed(sent.voxels), sent.metadata())
    assert told.json() == {"message": "image stored"}
    one = wire.get(f"/process_point_interaction/{session}?x=2&y=3&z=4&foreground=true")
    assert wire.get(f"/v2/reset_interactions/{session}").json() == {"status": "success"}
    other = wire.get(f"/v2/process_point_interaction/{session}?point=2&point=3&point=4&foreground=true")
    assert one.body == other.body
    assert one.headers["content-length"] == str(len(one.body))
    assert "content-encoding" not in one.headers
    assert wire.get(f"/end_session/{session}").json() == {"message": "session ended"}
    assert wire.get(f"/v2/end_session/{session}").status == 200


def test_without_a_word_a_click_is_background(site: Site) -> None:
    snap, open_image = site.snap(), image()
    snap.click(open_image, (2, 2, 2))
    answer = snap.wire.get(f"/v2/process_point_interaction/{snap.session}?point=2&point=2&point=2")
    assert not snap._mask(answer, open_image).any()


def test_another_model_ends_the_session_before(site: Site) -> None:
    snap, open_image = site.snap(), image()
    snap.click(open_image, (2, 2, 2))
    before = snap.session
    snap.choose("cubes")
    np.testing.assert_array_equal(snap.click(open_image, (9, 6, 3)), cube((9, 6, 3)))
    assert snap.session != before
    assert snap.wire.get(f"/reset_interactions/{before}").status == 409


def test_a_displayed_slice(site: Site) -> None:
    """Two coordinates; the answer has the slice's size."""
    snap = ItkSnap(Wire(site.port), 2, model="cubes")
    shown = image((9, 13))
    mask = snap.click(shown, (10, 3))
    np.testing.assert_array_equal(mask, cube((10, 3, 0), (1, 9, 13))[0])


def test_a_label_made_of_it_lies_where_the_image_said(site: Site) -> None:
    """ITK's terms, LPS. The real server throws them away (docs/protocols/itksnap.md, section 2.3)."""
    snap, sent = site.snap(), Image(image().voxels, (0.5, 0.75, 3.0), (11.0, -7.0, 400.0), (0, 1, 0, 1, 0, 0, 0, 0, -1))
    snap.click(sent, (2, 2, 2))
    record = site.services.prompting.record(site.services.prompting.log.newest(f"itksnap:{snap.session}").id)
    with site.services.prompting.session(record.id, record.owner) as session:
        geometry = session.geometry
    assert Geometry.from_itk(SHAPE, sent.spacing, sent.origin, sent.direction).difference(geometry) is None
    assert (record.placed, record.viewer.client, record.model) == (True, "ITK-SNAP", "cubes")
    assert record.viewer.who == "viewer@127.0.0.1"


def test_a_token_and_a_name_in_the_host_field(tmp_path) -> None:
    """`anna:s3cret@host` reaches the server as Basic credentials."""
    with opened(tmp_path, token="s3cret") as guarded:
        assert Wire(guarded.port).get("/status").status == 401
        snap = guarded.snap(login="anna:s3cret")
        assert snap.click(image(), (2, 2, 2)).any()
        prompting = guarded.services.prompting
        assert prompting.record(prompting.log.newest(f"itksnap:{snap.session}").id).viewer.who == "anna"


sizes = st.integers(2, 12)


@given(st.data(), st.tuples(sizes, sizes, sizes))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_shape_any_click_any_stroke(site: Site, data: st.DataObject, shape: tuple[int, int, int]) -> None:
    nz, ny, nx = shape
    at = tuple(data.draw(st.integers(0, n - 1)) for n in (nx, ny, nz))
    snap, sent = site.snap(data.draw(st.sampled_from([1, 2]))), image(shape, data.draw(st.integers(0, 9)))
    expected = cube(at, shape)
    np.testing.assert_array_equal(snap.click(sent, at), expected)
    drawn = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).random(shape) < 0.2
    drawn[0, 0, 0] = True
    foreground = data.draw(st.booleans())
    expected = np.where(drawn, foreground, expected)
    np.testing.assert_array_equal(snap.draw(sent, drawn, "scribble", foreground=foreground), expected)
