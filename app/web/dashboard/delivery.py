"""The archive: whether it answers, and which labels it doesn't have yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

from app.core.case import CaseRow
from app.core.label import Label, Waiting
from app.web.dashboard.case_name import CaseName, name_of

SHOWN = 10


@dataclass(frozen=True)
class Stuck:
    """A label that the archive doesn't have. `error` is why the last of `tries` failed, "" before the first; `advice`
    is what to do about one that was refused, which has no next try by itself."""

    label_id: int
    case: CaseName
    since: datetime
    tries: int
    next_try: datetime
    error: str
    advice: str = ""


@dataclass(frozen=True)
class Unusable:
    """Images that can't be opened, and why."""

    case: CaseName
    problem: str


@dataclass(frozen=True)
class Delivery:
    """`problem` is why the archive wasn't read at the last try; `read` is when it last was. Of `waiting` and `refused`
    labels and `unusable_cases` the first few are listed. `oldest` is when the label was made that waits for longest."""

    address: str
    kind: str
    problem: str
    read: datetime | None
    waiting: int
    delivered: int
    oldest: datetime | None
    stuck: tuple[Stuck, ...]
    unusable_cases: int
    unusable: tuple[Unusable, ...]
    refused: int = 0
    turned_down: tuple[Stuck, ...] = ()


def shown_address(studies: str) -> str:
    """An archive's address without the name and the password that may be in it."""
    parts = urlsplit(studies)
    if parts.scheme not in ("http", "https"):
        return studies
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def stuck(waiting: Waiting, label: Label, case: CaseName) -> Stuck:
    return Stuck(
        label_id=waiting.label_id,
        case=case,
        since=label.created,
        tries=waiting.attempts,
        next_try=datetime.fromtimestamp(waiting.next_try, UTC),
        error=waiting.error,
        advice=waiting.advice,
    )


def unusable(cases: Sequence[CaseRow]) -> tuple[Unusable, ...]:
    return tuple(Unusable(name_of(row.case), row.problem) for row in cases)
