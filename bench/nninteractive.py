"""nnInteractive's own client against this server: clicks, the first click on a new image, memory, eight people at once.

- click: the remote session's `add_point_interaction` against that of the bare library, with the same weights, voxels,
  clicks, storage and precision; the masks are compared. The library runs in a process of its own.
- upload: `set_image`, `set_target_buffer` and a first click, by the real client, against the official
  `nninteractive-server` as it comes (dense storage, float32), in turns.
- memory: what the server's process grows by while sessions are opened and clicked in once, per session.
- at once: eight sessions click at the same moment, until the last has its answer, against eight clicks of the bare
  library one after the other.
- legacy: the same click as SlicerNNInteractive 0.3.2 sends it, whose answer is the whole mask.

The network is tiny, so that what the servers add is seen, and set by hand to see a ball around every click, so that
nothing is ever zoomed.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.click import LibraryClicks, library
from bench.data import Plan, Shape, blobs
from bench.measure import Contender, Timing, interleave, rotated
from bench.report import Row, added, memory, ratio
from bench.server import Server, serving
from tests.models.folders import clicked_nninteractive
from tests.orthanc import free_port

CLICK_TARGET = 0.005
UPLOAD_TARGET = 0.7
TOGETHER_TARGET = 1.05
MEMORY_TARGET = 0.4
LEGACY_TARGET = 0.06
SETTLE = 0.1
PEOPLE = 8


def run(plan: Plan) -> list[Row]:
    weights = clicked_nninteractive(plan.new_folder("weights") / "tiny", patch=64)
    shapes = [plan.shape] if plan.quick else [(256, 256, 256), plan.shape]
    return [row for shape in shapes for row in _of_shape(plan, shape, weights)]


def _of_shape(plan: Plan, shape: Shape, weights: Path) -> list[Row]:
    folder = plan.new_folder("nninteractive")
    voxels = phantom(shape)
    file = folder / "voxels.npy"
    np.save(file, voxels)
    studies = folder / "studies"
    studies.mkdir()
    size = " x ".join(str(n) for n in reversed(shape))
    models = {"nninteractive": {"type": "nninteractive", "source": str(weights)}}
    with ExitStack() as stack:
        server = stack.enter_context(serving(studies, folder / "workspace", models))
        peer = stack.enter_context(official(weights, folder / "official.log"))
        bare = stack.enter_context(library(weights, file, "blosc2"))
        rows = _clicks(plan, size, server, bare, voxels)
        rows.append(_upload(plan, size, server, peer, voxels))
        rows.append(_together(plan, size, server, bare, voxels))
    with ExitStack() as stack:  # fresh processes: what they grow by is what sessions take
        server = stack.enter_context(serving(studies, folder / "another", models))
        peer = stack.enter_context(official(weights, folder / "another.log"))
        rows.append(_memory(size, server, peer, voxels, 4 if plan.quick or np.prod(shape) > 2**25 else PEOPLE))
    return rows


def _clicks(plan: Plan, size: str, server: Server, bare: LibraryClicks, voxels: NDArray[Any]) -> list[Row]:
    """Clicks of the remote session, of the old extension and of the library, in turns."""
    seconds: dict[str, list[float]] = {"ours": [], "legacy": [], "library": []}
    target = np.zeros(voxels.shape, np.uint8)
    equal = True
    with remote(server.address) as session, Legacy(server, voxels) as legacy:
        _open(session, voxels, target)
        for number in range(-1, plan.repeats(4, quick=1)):
            session.reset_interactions()
            legacy.start_over()
            bare.start_over()
            for turn, at in enumerate(places(voxels.shape, number)):
                clicks: dict[str, Callable[[], float]] = {
                    "ours": partial(timed, partial(session.add_point_interaction, at, True)),
                    "legacy": partial(timed, partial(legacy.click, at)),
                    "library": partial(bare.click, (at, True)),
                }
                for name in rotated(list(clicks), turn):
                    time.sleep(SETTLE)
                    elapsed = clicks[name]()
                    if number >= 0:
                        seconds[name].append(elapsed)
            equal &= hashlib.sha256(target.data).hexdigest() == bare.mask
    times = {name: Timing(tuple(values)) for name, values in seconds.items()}
    agree = "masks equal" if equal else "MASKS DIFFER"
    return [
        added("nninteractive", f"click, {size}; {agree}", times["ours"], "library", times["library"], CLICK_TARGET),
        added(
            "nninteractive",
            f"old extension's click, {size}",
            times["legacy"],
            "library",
            times["library"],
            LEGACY_TARGET,
        ),
    ]


def _upload(plan: Plan, size: str, server: Server, peer: Server, voxels: NDArray[Any]) -> Row:
    """From the image to its first click; each time as a new client with other voxels, so that nothing is known."""
    changed = voxels.copy()

    def prepare() -> None:
        changed[0, 0, 0] += 1

    def work(address: str) -> Callable[[], object]:
        def first_click() -> None:
            with remote(address) as session:
                _open(session, changed, np.zeros(voxels.shape, np.uint8))
                session.add_point_interaction(places(voxels.shape, 0)[0], True)

        return first_click

    contenders = {
        "ours": Contender(work(server.address), prepare),
        "official": Contender(work(peer.address), prepare),
    }
    times = interleave(contenders, plan.repeats(5, quick=2))
    what = f"upload to first click, {size}"
    return ratio("nninteractive", what, times["ours"], "official server", times["official"], UPLOAD_TARGET)


def _together(plan: Plan, size: str, server: Server, bare: LibraryClicks, voxels: NDArray[Any]) -> Row:
    people = 4 if plan.quick else PEOPLE
    with ExitStack() as stack, ThreadPoolExecutor(people) as pool:
        sessions = [stack.enter_context(remote(server.address)) for _ in range(people)]
        for session in sessions:
            _open(session, voxels, np.zeros(voxels.shape, np.uint8))
        ours, alone = [], []
        # Always at one place, which the first round, not counted, has made part of everybody's memory: eight sessions
        # touch eight times as much of it as the library's one.
        at = places(voxels.shape, 0)[0]
        for number in range(-1, plan.repeats(5, quick=2)):
            bare.start_over()
            for session in sessions:
                session.reset_interactions()
            summed = sum(bare.click((at, True)) for _ in range(people))
            time.sleep(SETTLE)
            start = perf_counter()
            list(pool.map(lambda one: one.add_point_interaction(at, True), sessions))
            elapsed = perf_counter() - start
            if number >= 0:
                ours.append(elapsed)
                alone.append(summed)
    what = f"{people} people click at once, {size}"
    against = f"{people} clicks of the library"
    return ratio("nninteractive", what, Timing(tuple(ours)), against, Timing(tuple(alone)), TOGETHER_TARGET)


def _memory(size: str, server: Server, peer: Server, voxels: NDArray[Any], people: int) -> Row:
    """Bytes per session, resident."""
    grown = {}
    for name, one in (("ours", server), ("official", peer)):
        with remote(one.address) as first:  # loads the model
            _open(first, voxels[:64, :64, :64].copy(), np.zeros((64, 64, 64), np.uint8))
            first.add_point_interaction((32, 32, 32), True)
        time.sleep(1)
        before = _resident(one)
        with ExitStack() as stack:
            for number in range(people):
                session = stack.enter_context(remote(one.address))
                _open(session, voxels, np.zeros(voxels.shape, np.uint8))
                session.add_point_interaction(places(voxels.shape, number)[0], True)
            time.sleep(2)  # what is written to disk in the background is written
            grown[name] = (_resident(one) - before) // people
    what = f"memory per session ({people} open), {size}"
    return memory(
        "nninteractive",
        what,
        grown["ours"],
        "official server",
        grown["official"],
        round(MEMORY_TARGET * grown["official"]),
    )


def _resident(server: Server) -> int:
    """Memory of its own: pages of the image cache that are merely mapped don't count."""
    process = psutil.Process(server.pid)
    return int(median(process.memory_full_info().uss for _ in range(3)))


@contextmanager
def remote(address: str) -> Iterator[Any]:
    from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

    session = nnInteractiveRemoteInferenceSession(address)
    try:
        yield session
    finally:
        session.close()


def _open(session: Any, voxels: NDArray[Any], target: NDArray[np.uint8]) -> None:
    session.set_image(voxels[None], {"spacing": [1.0, 0.7, 0.7]})
    session.set_target_buffer(target)


class Legacy:
    """A person with the old extension, on one connection per request as it makes them."""

    def __init__(self, server: Server, voxels: NDArray[Any]) -> None:
        self._server = server
        self._voxels = voxels
        self._count = (voxels.size + 7) // 8

    def __enter__(self) -> Legacy:
        self._send("volume.npy", self._voxels, "/upload_image")
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def start_over(self) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(self._voxels.shape, np.uint8))
        self._post("/upload_segment", "volume.npy.gz", gzip.compress(buffer.getvalue(), 1))

    def click(self, at: tuple[int, int, int]) -> None:
        body = json.dumps({"voxel_coord": list(at), "positive_click": True}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port)
        try:
            connection.request("POST", "/u/legacy/add_point_interaction", body, {"Content-Type": "application/json"})
            mask = zlib.decompress(connection.getresponse().read(), 31)
        finally:
            connection.close()
        if len(mask) != self._count:
            raise RuntimeError("the answer is no mask")

    def _send(self, name: str, array: NDArray[Any], path: str) -> None:
        buffer = io.BytesIO()
        np.save(buffer, array)
        self._post(path, name, buffer.getvalue())

    def _post(self, path: str, name: str, content: bytes) -> None:
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        body = b"".join([head, content, b"\r\n--b--\r\n"])
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = self._server.request("POST", f"/u/legacy{path}", body, kind).json()
        if answer != {"status": "ok"}:
            raise RuntimeError(str(answer))


@contextmanager
def official(weights: Path, log_file: Path) -> Iterator[Server]:
    """`nninteractive-server` as it comes, with seats for everybody here."""
    port = free_port()
    code = "import sys; from nnInteractive.inference.server.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--model-dir", str(weights), "--fold", "0", "--device", "cpu"]
    command += ["--no-torch-compile", "--max-sessions", str(PEOPLE + 1), "--port", str(port), "--log-level", "warning"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Server(port, process.pid)
    try:
        while not _lives(server):
            if process.poll() is not None:
                raise RuntimeError(f"the official server ended: {log_file.read_text()[-2000:]}")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _lives(server: Server) -> bool:
    try:
        return server.request("GET", "/healthz").status == 200
    except OSError:
        return False


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def phantom(shape: Shape) -> NDArray[np.int16]:
    """Ellipsoids in a body, in HU with noise of 12 HU, as a scanner's."""
    voxels = blobs(shape, 5).astype(np.int16) * 30
    k, j, i = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    voxels[np.broadcast_to(j**2 + i**2 + 0 * k > 0.8, shape)] = -1000
    noise = np.random.default_rng(0).normal(0, 12, shape[1:])
    for number in range(shape[0]):
        voxels[number] += np.roll(noise, 7 * number, axis=1).astype(np.int16)
    return voxels


def places(shape: tuple[int, ...], number: int) -> list[tuple[int, int, int]]:
    """Where to click in a round."""
    rng = np.random.default_rng(number + 1)
    found = []
    for _ in range(6):
        k, j, i = (int(rng.uniform(0.2, 0.8) * n) for n in shape)
        found.append((k, j, i))
    return found
