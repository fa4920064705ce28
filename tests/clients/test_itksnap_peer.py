"""The same requests to itksnap-dls 0.1.6 itself and to this server: same paths, same keys, same voxels.

Protocol: docs/protocols/itksnap.md, sections 2 and 5.

Its `--mock-models` mode paints a ball of radius 5 around a point, dilates a scribble by 2, and takes a lasso as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.model import ModelCard
from app.core.prompt import Lasso, Point, Scribble
from app.models.checks import check_volume
from app.models.session import PromptSession
from tests.clients.itksnap_peer import PeerMissing, install, mock_models
from tests.dialects.itksnap.replica import Image, ItkSnap, Wire, packed
from tests.dialects.itksnap.site import Site, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHAPE = (11, 17, 23)


class Mock:
    """What the peer's stand-in does, as a model of this server."""

    card = ModelCard(name="cubes", kind="interactive", description="", version="1")
    accepts = frozenset({Point, Scribble, Lasso})

    def open(self, volume, options):
        check_volume(volume)

        def predict(prompts, mask):
            after, last = mask.copy(), prompts[-1]
            after[_touched(last, mask.shape)] = last.include
            return after

        return PromptSession(volume.geometry.shape, self.accepts, predict, self.card.version)

    def session_bytes(self, volume):
        return 3 * volume.geometry.voxel_count


def _touched(prompt: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if isinstance(prompt, Point):
        return _near(np.array([prompt.at]), shape, 25)
    drawn = np.zeros(shape, bool)
    drawn[prompt.region.slices] = prompt.voxels
    return _near(np.argwhere(drawn), shape, 6) if isinstance(prompt, Scribble) else drawn


def _near(places: NDArray[np.int64], shape: tuple[int, ...], most: int) -> NDArray[np.bool_]:
    """Voxels whose squared distance to one of the places is at most so much (6: ITK's ball of radius 2)."""
    grid = np.indices(shape)
    near = np.zeros(shape, bool)
    for place in places:
        near |= ((grid - place.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= most
    return near


@pytest.fixture(scope="module")
def peer(request, tmp_path_factory) -> Iterator[int]:
    try:
        python = install(request.config.cache.mkdir("itksnap-dls"))
        with mock_models(python, tmp_path_factory.mktemp("peer") / "log") as port:
            yield port
    except PeerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Iterator[Site]:
    with opened(tmp_path_factory.mktemp("ours")) as site:
        site.services.models._models["cubes"] = Mock()  # type: ignore[index,assignment]
        yield site


def snaps(peer: int, ours: Site, generation: Literal[1, 2]) -> tuple[ItkSnap, ItkSnap]:
    both = ItkSnap(Wire(peer), generation), ItkSnap(Wire(ours.port), generation)
    for snap in both:
        snap.connect()
    return both


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_hour_gives_the_same_masks(peer: int, ours: Site, generation: Literal[1, 2], seed: int) -> None:
    rng = np.random.default_rng(seed)
    theirs, mine = snaps(peer, ours, generation)
    image = Image(rng.normal(size=SHAPE))
    label, drawn_any = 1, False
    for _ in range(12):
        foreground = bool(rng.random() < 0.7)
        turn = rng.integers(4)
        if turn == 0:
            label += 1
        if turn <= 1:
            at = tuple(int(rng.integers(n)) for n in reversed(SHAPE))
            masks = [snap.click(image, at, label, foreground) for snap in (theirs, mine)]
        else:
            kind: Literal["scribble", "lasso"] = "scribble" if turn == 2 else "lasso"
            drawn = np.zeros(SHAPE)
            k, j, i = (int(rng.integers(n - 4)) for n in SHAPE)
            drawn[k, j : j + 4, i : i + 3] = 1
            masks = [snap.draw(image, drawn, kind, label, foreground) for snap in (theirs, mine)]
        np.testing.assert_array_equal(masks[1], masks[0])
        drawn_any = drawn_any or bool(masks[0].any())
    assert drawn_any


def test_every_path_of_the_peer_is_here(peer: int, ours: Site) -> None:
    listed = [Wire(port).get("/openapi.json").json()["paths"] for port in (peer, ours.port)]
    missing = {(path, method) for path, methods in listed[0].items() for method in methods} - {
        (path, method) for path, methods in listed[1].items() for method in methods
    }
    assert not missing


def test_every_answer_has_the_peers_keys(peer: int, ours: Site) -> None:
    """Each call once, as bare requests; where ours has more keys, the client ignores them."""
    image = Image(np.random.default_rng(0).normal(size=SHAPE))
    stroke = packed(np.eye(17, 23)[None].repeat(11, 0) * (np.arange(11) == 3)[:, None, None])
    sent = (packed(image.voxels), image.metadata())

    def conversation(port: int) -> dict[str, tuple[int, dict[str, Any]]]:
        wire, told = Wire(port), {}

        def note(name: str, answer: Any) -> None:
            told[name] = (answer.status, answer.json())

        note("status", wire.get("/status"))
        note("models", wire.get("/v2/models"))
        for path in ("/start_session", "/v2/start_session/nnInteractive"):
            note(path, wire.get(path))
            session = told[path][1]["session_id"]
            note(f"{path} upload", wire.post_voxels(f"/upload_raw/{session}?filename=upload.nii.gz", *sent))
            note(f"{path} upload v2", wire.post_voxels(f"/v2/upload_raw/{session}", *sent))
            note(f"{path} xyz", wire.get(f"/process_point_interaction/{session}?x=9&y=7&z=2&foreground=true"))
            note(f"{path} reset", wire.get(f"/reset_interactions/{session}"))
            query = "point=9&point=7&point=2&foreground=true"
            note(f"{path} point", wire.get(f"/v2/process_point_interaction/{session}?{query}"))
            note(f"{path} reset v2", wire.get(f"/v2/reset_interactions/{session}"))
            for kind in ("scribble", "lasso"):
                where = f"/process_{kind}_interaction/{session}?foreground=true"
                note(f"{path} {kind}", wire.post_voxels(where, stroke, image.metadata()))
                note(f"{path} v2 {kind}", wire.post_voxels(f"/v2{where}", stroke, image.metadata()))
            note(f"{path} end", wire.get(f"/v2/end_session/{session}"))
            note(f"{path} end of nothing", wire.get("/end_session/nobody"))
        note(
            "missing part", wire.ask("POST", f"/upload_raw/{session}", b"--b--\r\n", "multipart/form-data; boundary=b")
        )
        note("no number", wire.get(f"/process_point_interaction/{session}?x=a&y=1&z=1"))
        return told

    theirs, mine = conversation(peer), conversation(ours.port)
    assert list(theirs) == list(mine)
    for name, (status, answer) in theirs.items():
        assert mine[name][0] == status, name
        assert set(answer) <= set(mine[name][1]), name
    assert mine["status"][1]["version"] == theirs["status"][1]["version"]
    entry = next(e for e in theirs["models"][1]["models"] if e["id"] == "nnInteractive")
    own = next(e for e in mine["models"][1]["models"] if e["id"] == "nnInteractive")
    assert (own["dimensions"], own["channels"]) == (entry["dimensions"], entry["channels"])
    assert set(own) == set(entry)
    # `box` is announced there, and has no call.
    assert set(own["interactions"]) == set(entry["interactions"]) - {"box"}
