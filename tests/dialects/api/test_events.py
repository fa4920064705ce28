"""What happens, as a browser's EventSource hears it: over a real connection."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import Request

from app.core.label import Submission
from app.core.mask import Mask
from app.core.volume import Geometry, Volume
from app.dialects.api.events import Pace, stream
from app.services.prompting.ending import PatchProgress
from tests.live import FAKE, Live, serving
from tests.orthanc import free_port

SHAPE = (4, 5, 6)


@dataclass(frozen=True)
class Event:
    kind: str
    id: int
    data: Any


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with serving(tmp_path / "w", FAKE, labels={"structures": ["liver"]}) as one:
        voxels = np.arange(120, dtype=np.int16).reshape(SHAPE)
        one.services.project.archive.add_volume("head", Volume(voxels, Geometry(SHAPE, np.eye(4))))
        one.services.sync.run()
        one.services.jobs.runner.shutdown()  # jobs are made by hand here
        yield one


@contextmanager
def listening(live: Live, last: int | None = None, deliveries: bool = False) -> Iterator[Iterator[Event]]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with httpx.stream("GET", f"{live.url}/api/v1/events", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers["cache-control"]
        heard = events(answer.iter_lines())
        # The outbox goes its rounds meanwhile; what it does is of interest to its own tests.
        yield heard if deliveries else (event for event in heard if event.kind != "delivery")


def events(lines: Iterator[str]) -> Iterator[Event]:
    """HTML standard 9.2.6, as far as it is used."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line and "data" in fields:
            yield Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def label(live: Live, fill: int) -> int:
    voxels = (np.arange(np.prod(SHAPE)) <= fill).astype(np.uint8).reshape(SHAPE)
    mask = Mask.single(voxels, ["liver"], Geometry(SHAPE, np.eye(4)))
    return live.services.labels.submit_mask("head", mask, Submission("ana", "test")).id


def test_how_far_a_prompt_is(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    running = [PatchProgress("00e9", 1, 3)]
    monkeypatch.setattr(live.services.prompting, "progress", lambda: list(running))
    with listening(live) as heard:
        of_prompts = (event.data for event in heard if event.kind == "patches")
        assert next(of_prompts) == {"session": "00e9", "done": 1, "most": 3}
        running[:] = [PatchProgress("00e9", 1, 3), PatchProgress("51ab", 0, None)]
        assert next(of_prompts) == {"session": "51ab", "done": 0, "most": None}  # the other is no further
        running[:] = [PatchProgress("00e9", 2, 3)]
        assert next(of_prompts) == {"session": "00e9", "done": 2, "most": 3}


def test_labels_and_progress_as_they_come(live: Live) -> None:
    with listening(live) as heard:
        first = next(heard)
        assert (first.kind, first.id, first.data) == ("progress", 0, {"total": 1, "completed": 0})
        made = label(live, 1)
        second, third = next(heard), next(heard)
        assert (second.kind, second.id) == ("label", made)
        assert second.data["id"] == made
        assert (second.data["author"], second.data["structures"]) == ("ana", ["liver"])
        assert (third.kind, third.id, third.data) == ("progress", made, {"total": 1, "completed": 1})


def test_a_job_from_its_start_to_its_end_and_what_comes_after(live: Live) -> None:
    jobs = live.services.project.catalog.jobs
    with listening(live) as heard:
        next(heard)
        job = jobs.add("train", "segmentation", {})
        queued = next(heard)
        assert (queued.kind, queued.data["id"], queued.data["state"]) == ("job", job.id, "queued")
        jobs.started(job.id, 1, 1.0)
        jobs.note(job.id, "epoch", {"epoch": 1, "total": 2, "metrics": {"loss": 0.5}})
        jobs.progress(job.id, 0.5)
        heard_of = next(heard)
        while heard_of.data["progress"] < 0.5:
            heard_of = next(heard)
        assert (heard_of.data["state"], heard_of.data["epochs"][0]["loss"]) == ("running", 0.5)
        jobs.finish(job.id, "failed", {}, "no use")
        over = next(heard)
        assert (over.data["state"], over.data["message"]) == ("failed", "no use")
        made = label(live, 1)
        assert next(heard).data["id"] == made


def test_who_comes_back_hears_the_labels_missed(live: Live) -> None:
    first, second, third = (label(live, fill) for fill in (0, 1, 0))
    job = live.services.project.catalog.jobs.add("train", "segmentation", {})
    with listening(live, last=first) as heard:
        missed = [next(heard) for _ in range(4)]
    assert [(event.kind, event.id) for event in missed[:2]] == [("label", second), ("label", third)]
    assert (missed[2].kind, missed[3].kind) == ("progress", "job")
    assert missed[3].data["id"] == job.id


def test_who_comes_anew_hears_no_old_labels(live: Live) -> None:
    label(live, 0)
    newest = label(live, 1)
    with listening(live) as heard:
        assert (next(heard).kind, newest) == ("progress", newest)
        later = label(live, 0)
        assert next(heard).id == later


def test_hidden_labels_are_not_looked_for_again_and_again(live: Live) -> None:
    label(live, 1)
    live.services.labels.delete("head", "final", "ana")
    with listening(live, last=0) as heard:
        assert next(heard).kind == "progress"
        later = label(live, 0)
        assert next(heard).data["id"] == later


def delivery(heard: Iterator[Event]) -> dict[str, Any]:
    return next(dict(event.data) for event in heard if event.kind == "delivery")


def test_a_label_that_has_arrived_is_told(live: Live) -> None:
    archive = live.services.project.archive
    live.services.cases.volume("head")  # so that it is here while the archive isn't
    archive.available = False
    with listening(live, deliveries=True) as heard:
        made = label(live, 1)
        told = next(event for event in heard if event.kind == "label")
        assert told.data["delivered"] is False
        archive.available = True
        live.services.project.catalog.outbox.retry_now()
        assert delivery(heard) == {"label_id": made, "state": "delivered", "error": "", "advice": ""}


def test_a_label_that_was_refused_is_told_to_everyone_until_it_has_arrived(live: Live) -> None:
    archive = live.services.project.archive
    archive.labels["final/head/v0001"] = b"somebody else's"
    with listening(live, deliveries=True) as first:
        made = label(live, 1)
        refused = delivery(first)
        assert (refused["label_id"], refused["state"]) == (made, "refused")
        assert "another label is stored" in refused["error"]
        assert "then retry" in refused["advice"]
        with listening(live, deliveries=True) as second:
            assert delivery(second) == refused
            archive.labels.clear()
            live.services.deliveries.retry(made)
            for heard in (first, second):
                told = delivery(heard)
                if told["state"] == "waiting":  # unless it was sent within the same second
                    told = delivery(heard)
                assert told == {"label_id": made, "state": "delivered", "error": "", "advice": ""}


def test_a_last_id_that_is_none_is_no_harm(live: Live) -> None:
    headers = {"Last-Event-ID": "9" * 30}
    with httpx.stream("GET", f"{live.url}/api/v1/events", headers=headers, timeout=20) as answer:
        assert next(events(answer.iter_lines())).kind == "progress"


def test_who_listens_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    port = str(free_port())
    command = [sys.executable, "-m", "app.cli", "serve", "--studies", str(tmp_path / "studies"), "--port", port]
    command += ["--workspace", str(tmp_path / "w")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with httpx.stream("GET", f"http://127.0.0.1:{port}/api/v1/events", timeout=60) as answer:
            heard = events(answer.iter_lines())
            assert next(heard).kind == "progress"
            process.terminate()
            assert list(heard) == []  # the stream ends as streams do, and isn't cut off
        process.wait(timeout=60)
    finally:
        process.kill()


async def quiet(answer: dict[str, str] | None, leaving_after: int) -> list[bytes]:
    """What is sent when nothing happens, to a client whose connection says `answer`, until the server leaves."""
    sent: list[bytes] = []

    async def receive() -> Any:
        if answer is None:
            await asyncio.Event().wait()
        return answer

    request = Request({"type": "http", "headers": []}, receive)
    async for piece in stream(request, list, Pace(0.01, 0.03), lambda: len(sent) >= leaving_after):
        sent.append(piece)
    return sent


def test_a_quiet_connection_is_kept_awake() -> None:
    first, *later = asyncio.run(quiet(None, leaving_after=3))
    assert first.startswith(b"retry:")
    assert later == [b": still here\n\n"] * 2


def test_nothing_is_sent_to_who_has_gone() -> None:
    assert len(asyncio.run(quiet({"type": "http.disconnect"}, leaving_after=3))) == 1
