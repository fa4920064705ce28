"""What this server offers, and its state."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter
from pydantic import BaseModel

from app.core.label import DeliveryState, PendingDelivery
from app.dialects.api.common import moment
from app.dialects.api.models import ModelShape
from app.dialects.api.prompts import KINDS
from app.errors import UnknownModel
from app.services import Services


class StrategyShape(BaseModel):
    """A strategy for picking the next case."""

    name: str
    description: str


class ArchiveShape(BaseModel):
    """The archive; `problem` says why it can't be read now, "" if it can."""

    address: str
    problem: str


class ProgressShape(BaseModel):
    """The number of cases, and of those with a final label."""

    total: int
    completed: int


class ServerShape(BaseModel):
    """What this server offers. `default_model` is null without an interactive model."""

    name: str
    description: str
    version: str
    structures: list[str]
    default_model: str | None
    models: list[ModelShape]
    strategies: list[StrategyShape]
    default_strategy: str
    archive: ArchiveShape
    progress: ProgressShape


class DeviceShape(BaseModel):
    """The device, its queue, and the memory of prompt sessions."""

    name: str
    precision: str
    waiting: int
    sessions_open: int
    session_bytes: int
    session_bytes_max: int


class ProblemShape(BaseModel):
    """A failed delivery and its error. A `waiting` label is retried at `next`; a `refused` one only on request (`next`
    is null), and `advice` says what to do first."""

    label_id: int
    state: DeliveryState
    error: str
    advice: str
    tries: int
    next: datetime | None

    @classmethod
    def of(cls, waiting: PendingDelivery) -> ProblemShape:
        return cls(
            label_id=waiting.label_id,
            state=waiting.state,
            error=waiting.error,
            advice=waiting.advice,
            tries=waiting.attempts,
            next=moment(waiting.next_try) if waiting.state == "waiting" else None,
        )


class OutboxShape(BaseModel):
    """Labels that are stored here but not confirmed by the archive. `oldest` is when the oldest of them was made."""

    waiting: int
    refused: int
    oldest: datetime | None
    problems: list[ProblemShape]


class RetryShape(BaseModel):
    """How many deliveries are retried."""

    retried: int


class DeliveryShape(BaseModel):
    """The delivery of a label to the archive. `error` and `advice` are "" unless it was refused."""

    label_id: int
    state: DeliveryState
    error: str = ""
    advice: str = ""


def add(api: APIRouter, services: Services) -> None:
    @api.get("/server", summary="What this server offers")
    def server() -> ServerShape:
        total, completed = services.cases.counts()
        strategies = services.next_case.strategies()
        return ServerShape(
            name=services.settings.name,
            description=services.settings.description,
            version=version("segloop"),
            structures=services.labels.structures(),
            default_model=_default_model(services),
            models=_models(services),
            strategies=[StrategyShape(name=name, description=said) for name, said in strategies.items()],
            default_strategy=next(iter(strategies), ""),
            archive=ArchiveShape(address=_shown(services.settings.studies), problem=services.sync.problem),
            progress=ProgressShape(total=total, completed=completed),
        )

    @api.get("/device", summary="What computes, and how busy it is")
    def device() -> DeviceShape:
        count, size = services.prompting.memory
        return DeviceShape(
            name=services.device.torch_name,
            precision=services.device.precision,
            waiting=services.device.waiting,
            sessions_open=count,
            session_bytes=size,
            session_bytes_max=services.settings.sessions.max_bytes,
        )

    @api.get("/outbox", summary="Labels on their way to the archive")
    def outbox() -> OutboxShape:
        """Undelivered labels are stored on this server. `problems` are the oldest refused labels, then the oldest
        waiting ones whose last delivery attempt failed."""
        outbox = services.deliveries.outbox()
        return OutboxShape(
            waiting=outbox.state.waiting,
            refused=outbox.state.refused,
            oldest=moment(outbox.waiting[0].created) if outbox.waiting else None,
            problems=[ProblemShape.of(one) for one in [*outbox.refused, *outbox.waiting] if one.error],
        )

    @api.post("/outbox/retry", summary="Send all refused labels again")
    def retried_all() -> RetryShape:
        """They are sent within seconds; `/outbox` and `/events` show the results."""
        return RetryShape(retried=services.deliveries.retry_refused())

    @api.post("/outbox/{label_id}/retry", summary="Send a label again")
    def retried(label_id: int) -> ProblemShape:
        """For a refused label, or one that waits for its next attempt. 404 for a label that isn't sent to the archive,
        409 for one that was delivered. `error` is that of the last attempt, until the next one."""
        return ProblemShape.of(services.deliveries.retry(label_id))


def _models(services: Services) -> list[ModelShape]:
    trainers = services.jobs.trainers()
    shapes = []
    for card in services.models.cards():
        accepts = services.models.accepts(card.name)
        shapes.append(ModelShape.of(card, [n for kind, n in KINDS.items() if kind in accepts], card.name in trainers))
    return shapes


def _default_model(services: Services) -> str | None:
    try:
        return services.models.default_interactive()
    except UnknownModel:
        return None


def _shown(address: str) -> str:
    """The URL without user name and password."""
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
