"""Live updates (server-sent events, HTML standard section 9.2).

All streams share one poll of the catalog per second, so ten open dashboards cause no more queries than one. Jobs and
progress are sent as their current state, so a client that reconnects misses nothing. Labels are sent one by one;
those made while a client was disconnected come first, from its `Last-Event-ID` on. Deliveries are sent when their state
changes; a new stream starts with the labels that are refused now. How far a prompt is comes with each poll; most
are done before the first.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from app.core.job import Job
from app.core.label import DeliveryState, PendingDelivery
from app.dialects.api.common import EventStream, text
from app.dialects.api.jobs import shape_of
from app.dialects.api.labels import shapes_of
from app.dialects.api.server import DeliveryShape, ProgressShape
from app.services import Services
from app.services.prompting.ending import PatchProgress

JOBS = 20
"""How many jobs are polled. Open jobs are among the newest: there is at most one per kind and model."""
MAX_LABELS = 500
"""Labels sent per poll; the rest follows with the next ones."""
WATCHED = 2000
"""How many undelivered labels are watched, the oldest ones. With more than that, single deliveries don't matter."""

_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Pace:
    """Seconds between two polls, and between two comments that keep proxies from closing an idle connection."""

    look: float = 1.0
    heartbeat: float = 15.0


def add(api: APIRouter, services: Services, pace: Pace | None = None) -> None:
    chosen = pace or Pace()
    pulse = Pulse(services, chosen.look)

    @api.get(
        "/events",
        summary="What happens, as it happens",
        response_class=EventStream,
        responses=text("text/event-stream"),
    )
    async def events(request: Request, last: Annotated[str, Header(alias="Last-Event-ID")] = "") -> StreamingResponse:
        """Events: `job` with a job, `label` with a label, `delivery` with the state of a label's delivery to the
        archive, `progress` with `total` and `completed`, `patches` with how far a prompt in progress is. The stream
        lasts as long as the connection."""
        feed = ClientFeed(services, pulse, int(last) if last.isascii() and last.isdigit() and len(last) < 19 else None)
        sent = stream(request, feed.news, chosen, getattr(request.app.state, "leaving", None))
        return StreamingResponse(sent, media_type="text/event-stream", headers=_HEADERS)


@dataclass(frozen=True)
class Reading:
    """One poll's result. `progress` is `(total, completed)`. `undelivered` are labels by id, read after `label_id`:
    labels up to that id that aren't among them were delivered, or aren't sent to the archive. `prompts` are those in
    progress."""

    jobs: tuple[Job, ...]
    label_id: int
    progress: tuple[int, int]
    undelivered: Mapping[int, PendingDelivery]
    prompts: tuple[PatchProgress, ...]


class PatchesShape(BaseModel):
    """A prompt in progress: the patches of the image that the model has looked at, of at most `most` (null if there is
    no limit). `session` is the session's public name."""

    session: str
    done: int
    most: int | None


class Pulse:
    """Polls the state at most once every `seconds`, for all clients. Thread-safe."""

    def __init__(self, services: Services, seconds: float) -> None:
        self._services = services
        self._seconds = seconds
        self._lock = threading.Lock()
        self._at = 0.0
        self._reading: Reading | None = None

    def read(self) -> Reading:
        with self._lock:
            now = time.monotonic()
            # Slightly less than a client's own interval, so that each of its polls gets a new state.
            if self._reading is None or now - self._at >= 0.9 * self._seconds:
                jobs = tuple(reversed(self._services.jobs.newest(limit=JOBS)))
                newest = self._services.labels.newest_id()
                undelivered = {one.label_id: one for one in self._services.deliveries.oldest(WATCHED)}
                prompts = tuple(self._services.prompting.progress())
                self._reading = Reading(jobs, newest, self._services.cases.counts(), undelivered, prompts)
                self._at = now
            return self._reading


class ClientFeed:
    """What was sent to one client. Used by one thread at a time."""

    def __init__(self, services: Services, pulse: Pulse, last: int | None) -> None:
        self._services = services
        self._pulse = pulse
        self._label_id = last
        self._jobs: dict[str, Job] = {}
        self._progress: tuple[int, int] | None = None
        self._undelivered: dict[int, DeliveryState] = {}
        self._prompts: tuple[PatchProgress, ...] = ()

    def news(self) -> list[bytes]:
        """The events since the last call; the first call sends the whole state. Reads the catalog."""
        reading = self._pulse.read()
        if self._label_id is None:
            self._label_id = reading.label_id
        events = []
        if reading.label_id > self._label_id:
            for label in shapes_of(self._services, self._services.labels.after(self._label_id, MAX_LABELS)):
                self._label_id = label.id
                events.append(_event("label", label, label.id))
            # Unless the limit was reached, the remaining ids are those of deleted labels.
            if len(events) < MAX_LABELS:
                self._label_id = max(self._label_id, reading.label_id)
        if reading.progress != self._progress:
            total, completed = self._progress = reading.progress
            events.append(_event("progress", ProgressShape(total=total, completed=completed), self._label_id))
        for job in reading.jobs:
            if self._jobs.get(job.id) != job:
                events.append(_event("job", shape_of(self._services, job), self._label_id))
        self._jobs = {job.id: job for job in reading.jobs}
        for prompt in reading.prompts:
            if prompt not in self._prompts:
                shape = PatchesShape(session=prompt.session, done=prompt.done, most=prompt.most)
                events.append(_event("patches", shape, self._label_id))
        self._prompts = reading.prompts
        events += [_event("delivery", shape, self._label_id) for shape in self._deliveries(reading.undelivered)]
        return events

    def _deliveries(self, now: Mapping[int, PendingDelivery]) -> Iterator[DeliveryShape]:
        """Changed delivery states. That a new label waits is part of its own event."""
        # The oldest labels are watched, so a label leaves this set only by being delivered.
        for label_id in self._undelivered.keys() - now.keys():
            yield DeliveryShape(label_id=label_id, state="delivered")
        for label_id, one in now.items():
            if one.state != self._undelivered.get(label_id, "waiting"):
                yield DeliveryShape(
                    label_id=label_id,
                    state=one.state,
                    error=one.error if one.state == "refused" else "",
                    advice=one.advice,
                )
        self._undelivered = {label_id: one.state for label_id, one in now.items()}


async def stream(
    request: Request, news: Callable[[], list[bytes]], pace: Pace, leaving: Callable[[], bool] | None
) -> AsyncIterator[bytes]:
    """The events of `news`, and comments while there are none, until the client disconnects or the server stops."""
    quiet_since = time.monotonic()
    yield b"retry: 3000\n\n"
    # A stopping server waits for its connections; this one would never end by itself.
    while not (leaving is not None and leaving()):
        if await request.is_disconnected():
            return
        found = await run_in_threadpool(news)
        if found:
            yield b"".join(found)
        elif time.monotonic() - quiet_since >= pace.heartbeat:
            yield b": still here\n\n"
        else:
            await asyncio.sleep(pace.look)
            continue
        quiet_since = time.monotonic()
        await asyncio.sleep(pace.look)


def _event(kind: str, shape: BaseModel, label_id: int) -> bytes:
    return f"event: {kind}\nid: {label_id}\ndata: {shape.model_dump_json()}\n\n".encode()
