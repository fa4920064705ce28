"""How soon the device is free once a client has closed its connection in the middle of a long prompt.

One client has a mask refined patch by patch, with a limit of `PATCHES`; another clicks, one patch a click, as soon as

- gone: the first one's connection was closed, half-way through its prompt;
- stays: at the same moment, but the first one goes on waiting for its answer;
- alone: nobody else is there. This is also what one patch takes.

What a click takes beyond one that is alone is how long the device stayed busy for somebody who had gone. The patch in
progress can't be interrupted, so at most one patch and half a second is the target.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from time import perf_counter
from typing import Any

import numpy as np

from bench.data import Plan, blobs, ct
from bench.measure import Timing
from bench.report import Row, added, ratio, seconds
from bench.server import Server, serving

PATCHES = 12
FREED_SECONDS = 0.5


@dataclass(frozen=True)
class Person:
    """A user of `/api/v1` with a session; on the device, users take turns."""

    server: Server
    name: str
    session: str

    @classmethod
    def arriving(cls, server: Server, name: str, case_id: str, model: str) -> Person:
        wanted = {"case_id": case_id, "model": model}
        connection = _sent(server, name, "/api/v1/sessions", json.dumps(wanted).encode())
        return cls(server, name, json.loads(connection.getresponse().read())["id"])

    def send(self, body: bytes, what: str = "prompts") -> http.client.HTTPConnection:
        return _sent(self.server, self.name, f"/api/v1/sessions/{self.session}/{what}", body)

    def ask(self, body: bytes, what: str = "prompts") -> None:
        answer = self.send(body, what).getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{what} answers {answer.status}: {content[:300]!r}")


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    folder = plan.new_folder("gone")
    mask = base64.b64encode(np.packbits(blobs(plan.shape, 1) > 0).tobytes()).decode()
    long = _prompt({"type": "mask", "voxels": mask, "refine": True})
    click = _prompt({"type": "point", "at": [n // 2 for n in plan.shape]})
    models = {
        name: {"type": "nninteractive", "source": "demo", "patches": patches}
        for name, patches in {"long": PATCHES, "short": 0}.items()
    }
    taken: dict[str, list[float]] = {"alone": [], "gone": [], "stays": []}
    with serving(series.folder, folder / "workspace", models) as server:
        server.wait_for_cases(1)
        first = Person.arriving(server, "first", series.series_uid, "long")
        second = Person.arriving(server, "second", series.series_uid, "short")
        second.ask(click)
        whole = min(_elapsed(lambda: first.ask(long)) for _ in range(2))
        for _ in range(plan.repeats(7, quick=1)):
            taken["alone"].append(_click(second, click))
            for name in ("gone", "stays"):
                connection = first.send(long)
                waiting = Thread(target=lambda one=connection: one.getresponse().read())
                if name == "stays":
                    waiting.start()
                time.sleep(whole / 2)
                if name == "gone":
                    connection.close()
                taken[name].append(_click(second, click))
                if name == "stays":
                    waiting.join()
                first.ask(b"", "reset")
    times = {name: Timing(tuple(values)) for name, values in taken.items()}
    patch = times["alone"].median
    what = f"another's click, after a client left half-way through {seconds(whole)}"
    return [
        added("gone", what, times["gone"], "alone, one patch", times["alone"], patch + FREED_SECONDS),
        ratio("gone", what, times["gone"], "if it had stayed", times["stays"], None),
    ]


def _click(person: Person, click: bytes) -> float:
    elapsed = _elapsed(lambda: person.ask(click))
    person.ask(b"", "reset")
    return elapsed


def _elapsed(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _prompt(prompt: dict[str, object]) -> bytes:
    return json.dumps({"prompts": [prompt]}).encode()


def _sent(server: Server, name: str, path: str, body: bytes) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"Content-Type": "application/json", "X-Segloop-User": name}
    connection.request("POST", path, body, headers)
    return connection
