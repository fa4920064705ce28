"""Figures for Prometheus: how long requests take, by dialect and route, and the state of the server.

Labels are names of this program's own (dialects, routes as they are declared, kinds of jobs, names of models); nothing
that a client sent is among them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.job import JobKind
from app.services import Services

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the ranges in which requests are counted by duration."""
KINDS: tuple[JobKind, ...] = ("train", "score", "segment")


class Metrics:
    """The figures of one server. Thread-safe."""

    def __init__(self, services: Services) -> None:
        from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

        self.registry: CollectorRegistry = CollectorRegistry()
        self.requests = Histogram(
            "segloop_request_seconds",
            "Seconds until the answer to a request began",
            ("dialect", "route", "method", "status"),
            buckets=SECONDS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(_State(services))

    def text(self) -> bytes:
        """All figures in Prometheus' text format 0.0.4."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self.registry))


def router(metrics: Metrics) -> APIRouter:
    """The route `/metrics`. It needs the token like any other."""
    api = APIRouter(tags=["health"])

    @api.get("/metrics", response_class=Response)
    def figures() -> Response:
        """Figures for Prometheus in its text format: requests by dialect and duration, the device's queue, sessions,
        jobs, deliveries, memory and disk."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return api


class Measured:
    """ASGI middleware: counts requests by duration. It stands behind the gate, so refused strangers don't count."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._requests = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = perf_counter()
        counted = False

        def count(status: int) -> None:
            nonlocal counted
            counted = True
            dialect, route = _route(scope)
            self._requests.labels(dialect, route, scope["method"], str(status)).observe(perf_counter() - start)

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception:
            if not counted:
                count(500)
            raise


def _route(scope: Scope) -> tuple[str, str]:
    """The dialect or kind of page that a request reached, and its route as it is declared; `none` without one."""
    endpoint, route = scope.get("endpoint"), scope.get("route")
    if endpoint is None or route is None:
        return "none", "none"
    package = str(getattr(endpoint, "__module__", "")).split(".")  # app.dialects.NAME... or app.web.NAME...
    return package[2] if len(package) > 2 else "none", str(getattr(route, "path", "none"))


class _State:
    """Reads the state of the services whenever somebody asks for the figures."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[Any]:
        """Nothing: otherwise `collect` is called to learn the names, before the server has started."""
        return []

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        def gauge(name: str, text: str, value: float) -> Metric:
            return GaugeMetricFamily(f"segloop_{name}", text, value=value)

        services = self._services
        sessions, session_bytes = services.prompting.memory
        yield gauge("device_waiting", "Predictions that wait for the device", services.device.waiting)
        yield gauge("sessions_open", "Prompt sessions in memory", sessions)
        yield gauge("sessions_bytes", "Memory of the open prompt sessions", session_bytes)
        yield gauge("models_ready", "1 once the models that clicks need are loaded", services.warm.is_set())
        yield gauge(
            "disk_free_bytes", "Free space for the workspace", shutil.disk_usage(services.settings.workspace).free
        )
        yield gauge("jobs_memory_bytes", "Resident memory of the processes of jobs", _memory_of_children())
        yield gauge("cases_waiting", "Cases without a final label", services.next_case.waiting())
        yield gauge("cases_held", "Cases that somebody holds", len(services.next_case.held()))
        yield gauge("archive_reachable", "0 if the archive could not be listed last time", not services.sync.problem)

        outbox = services.deliveries.outbox(0).state
        yield gauge("outbox_oldest_seconds", "For how long the oldest waiting label has been due", outbox.oldest)
        labels = GaugeMetricFamily("segloop_outbox_labels", "Labels by the state of their delivery", labels=["state"])
        labels.add_metric(["waiting"], outbox.waiting)
        labels.add_metric(["refused"], outbox.refused)
        labels.add_metric(["delivered"], outbox.delivered)
        yield labels

        jobs = GaugeMetricFamily("segloop_jobs", "Jobs that are queued or run", labels=["kind", "state"])
        for kind in KINDS:
            states = [job.state for job in services.jobs.open(kind)]
            for state in ("queued", "running"):
                jobs.add_metric([kind, state], states.count(state))
        yield jobs


def _memory_of_children() -> int:
    import psutil

    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it has just ended
    return total
