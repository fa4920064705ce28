"""What happens, as it happens (server-sent events, HTML standard section 9.2).

Every client's stream looks once a second at one shared reading of the catalog, so ten open dashboards ask it no more
than one does. Jobs and progress are told as they are now, so a client that was away misses nothing by getting the
newest state; labels are told one by one, and those made while it was away come first, by the id it saw last. That the
archive took a label, or refused it, is told as it comes to be known; at first, what is refused now.
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

JOBS = 20
"""How many jobs are watched: open ones are among the newest, one of a kind and model at a time."""
MOST_LABELS = 500
"""Labels told at once; a client that was away for longer gets the next ones a second later."""
WATCHED = 2000
"""Labels that the archive doesn't have which are watched: the oldest. With more than that, nobody waits for each."""

_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Pace:
    """Seconds between two looks, and between two comments that keep proxies from closing a quiet connection."""

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
        """`job` with a job, `label` with a label, `delivery` with what became of a label on its way to the archive,
        `progress` with `total` and `completed`. Ends with the connection."""
        told = Told(services, pulse, int(last) if last.isascii() and last.isdigit() and len(last) < 19 else None)
        sent = stream(request, told.news, chosen, getattr(request.app.state, "leaving", None))
        return StreamingResponse(sent, media_type="text/event-stream", headers=_HEADERS)


@dataclass(frozen=True)
class Reading:
    """The state of things. `progress` is `(total, completed)`. `undelivered` are labels by their ids, read after
    `label_id`: of the labels up to that one, those that aren't among them have arrived, or don't go to the archive."""

    jobs: tuple[Job, ...]
    label_id: int
    progress: tuple[int, int]
    undelivered: Mapping[int, PendingDelivery]


class Pulse:
    """Reads the state at most once every `seconds`, for all clients. Thread-safe."""

    def __init__(self, services: Services, seconds: float) -> None:
        self._services = services
        self._seconds = seconds
        self._lock = threading.Lock()
        self._at = 0.0
        self._reading: Reading | None = None

    def read(self) -> Reading:
        with self._lock:
            now = time.monotonic()
            # A little less than a client's own pause, so that nobody sees the same reading twice by a hair.
            if self._reading is None or now - self._at >= 0.9 * self._seconds:
                jobs = tuple(reversed(self._services.jobs.newest(limit=JOBS)))
                newest = self._services.labels.newest_id()
                undelivered = {one.label_id: one for one in self._services.deliveries.oldest(WATCHED)}
                self._reading = Reading(jobs, newest, self._services.cases.counts(), undelivered)
                self._at = now
            return self._reading


class Told:
    """What one client was told. Used by one thread at a time."""

    def __init__(self, services: Services, pulse: Pulse, last: int | None) -> None:
        self._services = services
        self._pulse = pulse
        self._label_id = last
        self._jobs: dict[str, Job] = {}
        self._progress: tuple[int, int] | None = None
        self._undelivered: dict[int, DeliveryState] = {}

    def news(self) -> list[bytes]:
        """Events for what has changed since the last call; the first tells everything once. Reads the catalog."""
        reading = self._pulse.read()
        if self._label_id is None:
            self._label_id = reading.label_id
        events = []
        if reading.label_id > self._label_id:
            for label in shapes_of(self._services, self._services.labels.after(self._label_id, MOST_LABELS)):
                self._label_id = label.id
                events.append(_event("label", label, label.id))
            # What is left is hidden labels, unless there were more than one call gives.
            if len(events) < MOST_LABELS:
                self._label_id = max(self._label_id, reading.label_id)
        if reading.progress != self._progress:
            total, completed = self._progress = reading.progress
            events.append(_event("progress", ProgressShape(total=total, completed=completed), self._label_id))
        for job in reading.jobs:
            if self._jobs.get(job.id) != job:
                events.append(_event("job", shape_of(self._services, job), self._label_id))
        self._jobs = {job.id: job for job in reading.jobs}
        events += [_event("delivery", shape, self._label_id) for shape in self._deliveries(reading.undelivered)]
        return events

    def _deliveries(self, now: Mapping[int, PendingDelivery]) -> Iterator[DeliveryShape]:
        """What has changed with labels on their way. That a new one waits is part of its own event."""
        # What is watched are the oldest, so that a label leaves it in one way only: by being delivered.
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
    """The events of `news`, comments while there are none, until the client has gone or the server is `leaving`."""
    quiet_since = time.monotonic()
    yield b"retry: 3000\n\n"
    # A server that wants to stop waits for its connections; this one would never end by itself.
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
