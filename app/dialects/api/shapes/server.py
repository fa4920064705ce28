"""The server, its models, its device and its outbox."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from app.core.label import DeliveryState, Waiting
from app.core.model import ModelCard, ModelKind, ModelVersion, Option
from app.dialects.api.shapes.moments import moment


class ModelShape(BaseModel):
    """What segments. `accepts` are kinds of prompts; `options` have their default, or the choices with the default
    first."""

    name: str
    kind: ModelKind
    description: str
    labels: list[str]
    version: str
    licence: str
    ready: bool
    accepts: list[str]
    options: dict[str, Option | list[str]]
    trainable: bool

    @classmethod
    def of(cls, card: ModelCard, accepts: list[str], trainable: bool) -> ModelShape:
        options = {name: list(value) if isinstance(value, tuple) else value for name, value in card.options.items()}
        return cls(
            name=card.name,
            kind=card.kind,
            description=card.description,
            labels=list(card.labels),
            version=card.version,
            licence=card.licence,
            ready=card.ready,
            accepts=accepts,
            options=options,
            trainable=trainable,
        )


class StrategyShape(BaseModel):
    """A way to pick the next case."""

    name: str
    description: str


class ArchiveShape(BaseModel):
    """Where studies come from; `problem` says why it can't be read now, "" if it can."""

    address: str
    problem: str


class ProgressShape(BaseModel):
    """How many cases there are to label, and how many have a final label."""

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
    """What computes, how much work is in line, and what prompt sessions hold."""

    name: str
    precision: str
    waiting: int
    sessions_open: int
    session_bytes: int
    session_bytes_max: int


class ProblemShape(BaseModel):
    """A label that the archive didn't take the last time, and why. One that is `waiting` is tried again at `next`; one
    that is `refused` is not, until somebody asks for it (`next` is null): `advice` says what to do before."""

    label_id: int
    state: DeliveryState
    error: str
    advice: str
    tries: int
    next: datetime | None

    @classmethod
    def of(cls, waiting: Waiting) -> ProblemShape:
        return cls(
            label_id=waiting.label_id,
            state=waiting.state,
            error=waiting.error,
            advice=waiting.advice,
            tries=waiting.attempts,
            next=moment(waiting.next_try) if waiting.state == "waiting" else None,
        )


class OutboxShape(BaseModel):
    """Labels that are safe here and not confirmed by the archive. `oldest` is when the first that waits was made."""

    waiting: int
    refused: int
    oldest: datetime | None
    problems: list[ProblemShape]


class RetryShape(BaseModel):
    """How many labels are tried again."""

    retried: int


class DeliveryShape(BaseModel):
    """What became of a label on its way to the archive. `error` and `advice` are "" unless it was refused."""

    label_id: int
    state: DeliveryState
    error: str = ""
    advice: str = ""


class VersionShape(BaseModel):
    """Weights of a model. `served` marks those in use; `reason` is what the gate said about them."""

    id: str
    number: int
    parent: str
    state: str
    served: bool
    reason: str
    metrics: dict[str, Any]
    created: datetime
    licence: str

    @classmethod
    def of(cls, version: ModelVersion, served: str) -> VersionShape:
        return cls(
            id=version.id,
            number=version.number,
            parent=version.parent,
            state=version.state,
            served=version.id == served,
            reason=version.reason,
            metrics=dict(version.metrics),
            created=moment(version.created),
            licence=version.licence,
        )


class ServeRequest(BaseModel):
    """The id of the version to use."""

    version: str
