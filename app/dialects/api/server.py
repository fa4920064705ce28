"""What this server offers, and how it is doing."""

from __future__ import annotations

from importlib.metadata import version
from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter

from app.dialects.api.prompts import KINDS
from app.dialects.api.shapes.moments import moment
from app.dialects.api.shapes.server import (
    ArchiveShape,
    DeviceShape,
    ModelShape,
    OutboxShape,
    ProblemShape,
    ProgressShape,
    RetryShape,
    ServerShape,
    StrategyShape,
)
from app.errors import UnknownModel
from app.services import Services


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
        """They are safe here meanwhile. `problems` are the oldest labels that were refused, and then the oldest of
        those that wait whose last try failed."""
        outbox = services.deliveries.outbox()
        return OutboxShape(
            waiting=outbox.state.waiting,
            refused=outbox.state.refused,
            oldest=moment(outbox.waiting[0].created) if outbox.waiting else None,
            problems=[ProblemShape.of(one) for one in [*outbox.refused, *outbox.waiting] if one.error],
        )

    @api.post("/outbox/retry", summary="Send all refused labels again")
    def retried_all() -> RetryShape:
        """They are sent within seconds; `/outbox` and `/events` tell what came of it."""
        return RetryShape(retried=services.deliveries.retry_refused())

    @api.post("/outbox/{label_id}/retry", summary="Send a label again")
    def retried(label_id: int) -> ProblemShape:
        """One that was refused, or one that waits for its next try. 404 for one that doesn't go to the archive, 409
        for one that is there. Its `error` is that of the last try, until the next."""
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
    """Without a user name and password that may be part of it."""
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
