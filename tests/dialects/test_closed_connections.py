"""A client that goes away in the middle of a click, through every dialect and a real socket: no further patch is begun,
and the session is as its log says."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote.serialization import pack_array
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.http.connections import WatchedConnection
from app.services import Services
from app.settings import ModelSettings
from tests.dialects.itksnap.replica import Image, ItkSnap, Wire
from tests.dialects.slicer_legacy.test_endpoints import npy
from tests.dicom.synthetic import ct_series
from tests.live import serving
from tests.models.folders import tiny_nninteractive
from tests.services.prompting.test_ending import Watched
from tests.services.two_models import without_snapshots

SHAPE = (24, 28, 32)
CLICK, NEXT = (11, 13, 17), (8, 10, 14)
MOST = 5
FLAGS = {"include_interaction": True, "run_prediction": True, "override_capability_checks": False}


@dataclass
class Site:
    url: str
    services: Services
    network: Watched
    watched: list[WatchedConnection]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def case_id(self) -> str:
        return next(row.case.id for row in self.services.cases.all() if row.origin != "upload")

    def post(self, path: str, **content: Any) -> httpx.Response:
        answer = httpx.post(self.url + path, timeout=60, **content)
        assert answer.status_code < 300, answer.text
        return answer

    def leave(self, request: httpx.Request, during: int) -> None:
        """Send a request, and close its connection while the network is at this patch. Returns once the server has
        done with it."""
        inside = threading.Event()
        self.watched.clear()

        def before(number: int) -> None:
            if number == during:
                inside.set()
                while not any(connection.closed for connection in self.watched):
                    threading.Event().wait(0.001)

        self.network.count, self.network.before = 0, before
        with closing(socket.create_connection(("127.0.0.1", self.port))) as connection:
            connection.sendall(raw(request))
            assert inside.wait(60)
        self.settle()
        self.network.before = lambda number: None

    def settle(self) -> None:
        """Wait until no request has a session."""
        for session in self.services.prompting._sessions():
            with self.services.prompting.session(session.record.id, session.record.owner, reading=True):
                pass

    def steps(self) -> list[tuple[str, int | None]]:
        (file,) = self.services.project.paths.sessions.glob("*/log.jsonl")
        steps = [json.loads(line) for line in file.read_text().splitlines()]
        return [(step["step"], step.get("patches")) for step in steps]

    def mask(self) -> NDArray[np.uint8]:
        (session,) = self.services.prompting._sessions()
        with self.services.prompting.session(session.record.id, session.record.owner, reading=True) as one:
            return one.mask.copy()

    def park(self) -> None:
        self.services.prompting.close_all()
        without_snapshots(self.services)


def raw(request: httpx.Request) -> bytes:
    head = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*head, "", ""]).encode() + request.read()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    source = str(tiny_nninteractive(tmp_path / "tiny", seed=1))
    models = {"limited": ModelSettings(type="nninteractive", source=source, patches=MOST)}
    with serving(tmp_path / "workspace", models, MemoryArchive([ct_series(SHAPE)[0]])) as live:
        live.services.sync.run()
        for thread in threading.enumerate():
            if thread.name == "warm-up":
                thread.join()  # it makes a prompt of its own
        artifacts = live.services.models.interactive("limited")._load().artifacts  # type: ignore[attr-defined]
        artifacts["network"] = network = Watched(artifacts["network"])
        watched: list[WatchedConnection] = []
        watch = WatchedConnection.watch

        def noted(self: WatchedConnection) -> None:
            watched.append(self)
            watch(self)

        monkeypatch.setattr(WatchedConnection, "watch", noted)
        yield Site(live.url, live.services, network, watched)


Click = Callable[[tuple[int, int, int]], httpx.Request]
"""The request that makes a click at `(k, j, i)`."""


def api(site: Site) -> Click:
    session = site.post("/api/v1/sessions", json={"case_id": site.case_id}).json()["id"]
    path = f"{site.url}/api/v1/sessions/{session}/prompts"
    return lambda at: httpx.Request("POST", path, json={"prompts": [{"type": "point", "at": at}]})


def nninteractive(site: Site) -> Click:
    token = {"X-Lease-Token": site.post("/claim").json()["lease_token"]}
    image = np.random.default_rng(0).integers(0, 99, (1, *SHAPE)).astype(np.int16)
    site.post("/set_image", content=pack_array(image), headers={**token, "X-Meta": "{}"})
    site.post("/set_target_buffer", json={"shape": SHAPE, "dtype": "uint8"}, headers=token)
    path = f"{site.url}/add_point_interaction"
    return lambda at: httpx.Request("POST", path, json={"coordinates": at, **FLAGS}, headers=token)


def nninteractive_scribble(site: Site) -> Click:
    """An endpoint that is `async` and receives its body itself."""
    token = nninteractive(site)((0, 0, 0)).headers["X-Lease-Token"]

    def click(at: tuple[int, int, int]) -> httpx.Request:
        k, j, i = at
        bounds = [[k, k + 1], [j, j + 1], [i - 3, i + 3]]
        meta = json.dumps({**FLAGS, "interaction_bbox": bounds})
        headers = {"X-Lease-Token": token, "X-Meta": meta, "Content-Type": "application/octet-stream"}
        content = pack_array(np.ones((1, 1, 6), np.uint8))
        return httpx.Request("POST", f"{site.url}/add_scribble_interaction", content=content, headers=headers)

    return click


def itksnap(site: Site) -> Click:
    """Clicks are GET requests, whose body nobody receives."""
    snap = ItkSnap(Wire(site.port), 2)
    snap.connect()
    snap.click(Image(np.random.default_rng(0).normal(100, 50, SHAPE).astype(np.float32)), (1, 1, 1))
    path = f"{site.url}/v2/process_point_interaction/{snap.session}"
    return lambda at: httpx.Request("GET", path, params=[*(("point", x) for x in reversed(at)), ("foreground", "true")])


def slicer_legacy(site: Site) -> Click:
    image = np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.int16)
    site.post("/upload_image", files={"file": ("volume.npy", npy(image))})
    path = f"{site.url}/add_point_interaction"
    return lambda at: httpx.Request("POST", path, json={"voxel_coord": at, "positive_click": True})


@pytest.mark.parametrize("dialect", [api, nninteractive, nninteractive_scribble, itksnap, slicer_legacy])
def test_no_patch_is_begun_for_a_client_that_has_gone(site: Site, dialect: Callable[[Site], Click]) -> None:
    network = site.network
    click = dialect(site)
    already = len(site.steps()) if list(site.services.project.paths.sessions.glob("*/log.jsonl")) else 0

    site.leave(click(CLICK), during=1)
    assert network.count == 1
    assert already == 0 or len(site.steps()) == already  # it never happened

    site.leave(click(CLICK), during=3)
    assert network.count == 3
    assert site.steps()[already:] == [("add", 3)]
    ended = site.mask()
    assert ended.any()

    # A client that comes back goes on from there, as does the log alone.
    answer = httpx.Client(timeout=60).send(click(NEXT))
    assert answer.status_code == 200, answer.text
    expected = site.mask()
    assert (expected != ended).any()
    site.park()
    np.testing.assert_array_equal(site.mask(), expected)


def test_a_monailabel_request_happens_as_a_whole_or_not_at_all(site: Site) -> None:
    """Its clicks all come with every request, and their mask must not depend on a request that broke off."""
    network = site.network

    def infer(*clicks: tuple[int, int, int]) -> httpx.Request:
        params = {"label": "liver", "foreground": [at[::-1] for at in clicks], "result_compress": False}
        return httpx.Request(
            "POST",
            f"{site.url}/infer/limited",
            params={"image": site.case_id, "output": "image"},
            data={"params": json.dumps(params)},
        )

    def voxels(*clicks: tuple[int, int, int]) -> bytes:
        answer = httpx.Client(timeout=60).send(infer(*clicks))
        assert answer.status_code == 200, answer.text
        header, _, content = answer.content.partition(b"\n\n")
        return gzip.decompress(content) if b"gzip" in header else content

    site.leave(infer(CLICK, NEXT), during=3)
    assert network.count == 3
    (session,) = site.services.prompting._sessions()
    with site.services.prompting.session(session.record.id, session.record.owner, reading=True) as held:
        assert not held.mask.any()

    site.leave(infer(CLICK, NEXT), during=1 + MOST + 2)
    assert network.count == 1 + MOST + 2  # the first click, and two patches of the next
    network.count = 0
    found = voxels(CLICK, NEXT)
    assert network.count <= 1 + MOST  # the first isn't predicted anew
    site.post(
        "/infer/limited",
        params={"image": site.case_id, "output": "image"},
        data={"params": json.dumps({"label": "liver", "foreground": [], "reset_state": True})},
    )
    assert voxels(CLICK, NEXT) == found
