"""One more click on a structure, until the viewer has the whole answer.

- ours: POST `/infer/` of the MONAI Label dialect with one more point, default output (a gzipped mask of the whole
  image), over loopback, a new connection per click as the real client makes.
- library: the bare nnInteractive session with the same weights, volume, points and precision in a process of its own,
  called directly; with the server's way of keeping prompts (`blosc2`), and with the library's own choice (`auto`,
  dense at this size: faster, and four times the memory per session).

AutoZoom is off in these: with it a click is one forward or dozens, and what the server adds would drown in that. What a
person feels is a row of its own: the shipped model as it comes, with AutoZoom, its limit of patches and its guard,
beside the library with AutoZoom and without a limit, and beside itself with one patch a click.

All take each click one after the other before the next click, rounds start over with other points, and the masks are
compared: equal weights, clicks and arithmetic give equal masks. The weights are those of the shipped starter model in a
folder of their own, without the guard, because the library has none; the guard's cost is a row of its own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from app.models.nninteractive.folder import find_folder
from bench.data import Plan, Shape, ct
from bench.measure import Timing, rotated
from bench.report import Row, added, ratio, seconds
from bench.server import Server, serving

Click = tuple[tuple[int, int, int], bool]

TARGET = 0.060
SETTLE = 0.15
"""Seconds between clicks, in which the threads of the process that just computed come to rest."""

PLACES = (
    (0.20, 0.00, -0.30, True),
    (0.05, 0.05, -0.22, True),
    (0.20, 0.42, -0.30, False),
    (0.36, 0.05, -0.35, True),
    (0.20, -0.12, -0.46, True),
    (-0.25, 0.00, -0.30, False),
    (0.10, 0.14, -0.30, True),
    (0.30, -0.10, -0.15, True),
    (0.20, 0.00, 0.12, False),
    (0.25, 0.15, -0.36, True),
)
"""Where to click, from -1 to 1 along k, j, i: in and around one of the phantom's spheres."""


class Clicked(Protocol):
    """Something to click on. `click` returns its seconds; `mask` is the digest of the mask after it."""

    mask: str

    def start_over(self) -> None: ...

    def click(self, one: Click) -> float: ...


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    folder = plan.new_folder("click")
    weights = Path(shutil.copytree(find_folder("starter"), folder / "model"))
    (weights / "segloop.json").unlink()  # what the folder asks of segloop and the library doesn't have
    voxels = folder / "voxels.npy"
    np.save(voxels, series.voxels)
    models = {"unguarded": {"type": "nninteractive", "source": str(weights)}}
    models["guarded"] = {"type": "nninteractive", "source": "starter"}
    with ExitStack() as stack:
        server = stack.enter_context(serving(series.folder, folder / "workspace", models))
        server.wait_for_cases(1)
        contenders: dict[str, Clicked] = {
            "ours": ServedClicks(server, "unguarded", series.series_uid),
            "guarded": ServedClicks(server, "guarded", series.series_uid),
            "felt": ServedClicks(server, "guarded", series.series_uid, client="felt", options={}),
            "blosc2": stack.enter_context(library(weights, voxels, "blosc2")),
            "auto": stack.enter_context(library(weights, voxels, "auto")),
            "zoomed": stack.enter_context(library(weights, voxels, "blosc2", autozoom=True)),
        }
        times, equal = rounds(contenders, plan)
    felt = times["felt"]
    tail = f"p95 {seconds(felt.percentile(95))}, longest {seconds(felt.high)}"
    agree = "masks equal" if equal else "MASKS DIFFER"
    return [
        added("click", f"click in a viewer; {agree}", times["ours"], "library, same storage", times["blosc2"], TARGET),
        added("click", "click in a viewer", times["ours"], "library, its own choice", times["auto"], TARGET),
        added("click", "the starter model with its guard", times["guarded"], "without", times["ours"], None),
        ratio("click", f"click as by default, AutoZoom on; {tail}", felt, "library, AutoZoom", times["zoomed"], None),
        ratio("click", "click as by default, AutoZoom on", felt, "one patch a click", times["guarded"], None),
    ]


def rounds(contenders: dict[str, Clicked], plan: Plan) -> tuple[dict[str, Timing], bool]:
    """The time of every click, and whether server and library came to the same masks. The first round isn't
    counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    equal = True
    for number in range(-1, plan.repeats(5, quick=1)):
        clicks = clicks_of(plan.shape, number)[: 3 if plan.quick or number < 0 else None]
        for one in contenders.values():
            one.start_over()
        for turn, click in enumerate(clicks):
            for name in rotated(list(contenders), turn):
                time.sleep(SETTLE)
                elapsed = contenders[name].click(click)
                if number >= 0:
                    taken[name].append(elapsed)
        equal &= contenders["ours"].mask == contenders["blosc2"].mask == contenders["auto"].mask
    return {name: Timing(tuple(values)) for name, values in taken.items()}, equal


def clicks_of(shape: Shape, number: int) -> list[Click]:
    """The clicks of a round: the places, moved a little."""
    moved = np.random.default_rng(number + 1).uniform(-0.02, 0.02, (len(PLACES), 3))
    clicks = []
    for (*place, include), offset in zip(PLACES, moved, strict=True):
        k, j, i = (round((x + 1) / 2 * (n - 1)) for x, n in zip(np.add(place, offset), shape, strict=True))
        clicks.append(((k, j, i), include))
    return clicks


@dataclass
class ServedClicks:
    """Clicks as 3D Slicer sends them: all points of the structure each time. `client` keeps two of one model apart."""

    server: Server
    model: str
    case_id: str
    mask: str = ""
    client: str = ""
    options: Mapping[str, object] = field(default_factory=lambda: {"autozoom": False})

    def start_over(self) -> None:
        self._points: dict[str, list[list[int]]] = {"foreground": [], "background": []}
        self._send()

    def click(self, one: Click) -> float:
        (k, j, i), include = one
        self._points["foreground" if include else "background"].append([i, j, k])
        start = perf_counter()
        body = self._send()
        elapsed = perf_counter() - start
        self.mask = _digest(body)
        return elapsed

    def _send(self) -> bytes:
        wishes: dict[str, object] = {
            "label": "sphere",
            "result_extension": ".nrrd",
            "result_dtype": "uint8",
            "client_id": self.client or self.model,
        }
        return self.server.infer(self.model, self.case_id, {**self._points, **wishes, **self.options}).body


@dataclass
class LibraryClicks:
    process: subprocess.Popen[str]
    mask: str = ""

    def start_over(self) -> None:
        self._ask(None)

    def click(self, one: Click) -> float:
        answer = self._ask(one)
        self.mask = answer["mask"]
        return float(answer["seconds"])

    def _ask(self, order: Click | None) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process with the bare library ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def library(weights: Path, voxels: Path, storage: str, *, autozoom: bool = False) -> Iterator[LibraryClicks]:
    command = [sys.executable, "-m", "bench.click_library", str(weights), str(voxels), storage]
    command.append("autozoom" if autozoom else "patch only")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        clicks = LibraryClicks(process)
        clicks.hear()  # it is ready
        yield clicks  # leaving closes its pipes, at which it ends


def _digest(body: bytes) -> str:
    """Of the voxels in a two-part answer, whose boundary is its first line."""
    boundary = body.partition(b"\r\n")[0][2:].decode()
    message = message_from_bytes(f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n".encode() + body)
    _, file = message.get_payload()
    _, _, voxels = file.get_payload(decode=True).partition(b"\n\n")
    return hashlib.sha256(gzip.decompress(voxels)).hexdigest()
