"""The server's state: the archive and undelivered labels, prompt sessions, and problems that need attention."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

from app.core.archive import NotOffered
from app.core.case import CaseRow
from app.core.label import Label, PendingDelivery
from app.services import Services
from app.services.prompting.log import SessionRecord
from app.services.prompting.submission import SessionInfo
from app.web.dashboard.learning import Jobs, read_jobs
from app.web.dashboard.work import CaseName, name_of, names_of

DELIVERIES_SHOWN = 10
NOT_OFFERED_SHOWN = 200


@dataclass(frozen=True)
class Stuck:
    """A label that isn't delivered. `error` is why the last of `tries` failed, "" before the first; `advice` is what to
    do about a refused label, which isn't retried automatically."""

    label_id: int
    case: CaseName
    since: datetime
    tries: int
    next_try: datetime
    error: str
    advice: str = ""


@dataclass(frozen=True)
class Unusable:
    """A case whose images can't be opened, and why."""

    case: CaseName
    problem: str


@dataclass(frozen=True)
class LeftOut:
    """A damaged file of the archive that belongs to no case, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Delivery:
    """The archive's state. `problem` is why the last sync failed; `read` is when the last one succeeded. The first few
    of the `waiting` and `refused` labels, the `unusable_cases`, the `left_out_files` (damaged) and the
    `not_offered_files` (masks, and images that OHIF can't show) are listed. `oldest` is when the oldest waiting label
    was made."""

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
    left_out_files: int = 0
    left_out: tuple[LeftOut, ...] = ()
    not_offered_files: int = 0
    not_offered: tuple[NotOffered, ...] = ()


def shown_address(studies: str) -> str:
    """An archive's URL without user name, password and query."""
    parts = urlsplit(studies)
    if parts.scheme not in ("http", "https"):
        return studies
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def stuck(waiting: PendingDelivery, label: Label, case: CaseName) -> Stuck:
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


SESSIONS_SHOWN = 20


@dataclass(frozen=True)
class SessionRow:
    """A prompt session. `name` is its public name, which gives no access. `case` is the archive's if it is known, else
    the image it was opened on. `label_id` is None if there is no label, or steps were added since."""

    name: str
    client: str
    who: str
    case: CaseName
    model: str
    opened: datetime
    used: datetime
    steps: int
    open: bool
    label_id: int | None

    @property
    def submittable(self) -> bool:
        return self.steps > 0 and self.label_id is None


@dataclass(frozen=True)
class Sessions:
    """The newest sessions. `in_memory` sessions take `bytes` of at most `max_bytes`; `waiting` is the number of tasks
    queued for the device. `precision` is "" before the first computation. `structures` are the names for labels."""

    rows: tuple[SessionRow, ...]
    in_memory: int
    bytes: int
    max_bytes: int
    device: str
    precision: str
    waiting: int
    structures: tuple[str, ...]


def session_row(info: SessionInfo, case: CaseName) -> SessionRow:
    record: SessionRecord = info.record
    return SessionRow(
        name=record.name,
        client=record.viewer.client,
        who=record.viewer.who,
        case=case,
        model=record.model,
        opened=datetime.fromtimestamp(record.opened, UTC),
        used=datetime.fromtimestamp(info.used, UTC),
        steps=info.steps,
        open=info.open,
        label_id=info.label_id,
    )


NEARLY_FULL = 0.9


@dataclass(frozen=True)
class Notice:
    """A problem; `panel` is the panel with its details."""

    text: str
    panel: str


def attention(delivery: Delivery, jobs: Jobs, sessions: Sessions) -> tuple[Notice, ...]:
    return tuple(_notices(delivery, jobs, sessions))


def _notices(delivery: Delivery, jobs: Jobs, sessions: Sessions) -> Iterator[Notice]:
    if delivery.problem:
        yield Notice(f"The archive can't be read: {delivery.problem}", "archive")
    if delivery.turned_down:
        count = f"{delivery.refused} labels were" if delivery.refused != 1 else "A label was"
        yield Notice(f"{count} refused by the archive: {delivery.turned_down[0].error}", "archive")
    tried = [one for one in delivery.stuck if one.error]
    if tried:
        count = f"{delivery.waiting} labels wait" if delivery.waiting != 1 else "A label waits"
        yield Notice(f"{count} for the archive. The last try: {tried[0].error}", "archive")
    if delivery.unusable_cases:
        count = f"{delivery.unusable_cases} images" if delivery.unusable_cases != 1 else "An image"
        yield Notice(f"{count} can't be used and won't be offered", "archive")
    if delivery.left_out_files:
        count = f"{delivery.left_out_files} files are" if delivery.left_out_files != 1 else "A file is"
        yield Notice(f"{count} damaged and left out of the cases", "archive")
    # Only the newest job per kind and model: a failure followed by a success doesn't matter any more.
    newest = {(row.kind, row.model): row for row in reversed(jobs.rows)}
    for row in newest.values():
        if row.failed:
            yield Notice(f"{row.title} failed: {row.message}", "jobs")
    if sessions.bytes > NEARLY_FULL * sessions.max_bytes:
        yield Notice("Memory for prompt sessions is nearly used up", "sessions")


def read_delivery(services: Services) -> Delivery:
    outbox = services.deliveries.outbox(DELIVERIES_SHOWN)
    labels = services.labels.by_ids(one.label_id for one in [*outbox.waiting, *outbox.refused])
    names = names_of(services.cases, [label.case_id for label in labels.values()])

    def shown(one: PendingDelivery) -> Stuck:
        label = labels[one.label_id]
        return stuck(one, label, names[label.case_id])

    not_offered = services.cases.not_offered()
    no_volumes = unusable(services.cases.unusable())
    left_out = services.quarantine.files()
    read = services.sync.read
    return Delivery(
        address=shown_address(services.settings.studies),
        kind=services.sync.archive,
        problem=services.sync.problem,
        read=datetime.fromtimestamp(read, UTC) if read else None,
        waiting=outbox.state.waiting,
        delivered=outbox.state.delivered,
        oldest=labels[outbox.waiting[0].label_id].created if outbox.waiting else None,
        stuck=tuple(map(shown, outbox.waiting)),
        refused=outbox.state.refused,
        turned_down=tuple(map(shown, outbox.refused)),
        unusable_cases=len(no_volumes),
        unusable=no_volumes[:DELIVERIES_SHOWN],
        left_out_files=len(left_out),
        left_out=tuple(LeftOut(file.path, file.reason) for file in left_out[:DELIVERIES_SHOWN]),
        not_offered_files=len(not_offered),
        not_offered=tuple(not_offered[:NOT_OFFERED_SHOWN]),
    )


def read_sessions(services: Services) -> Sessions:
    listed = services.sessions.listed(SESSIONS_SHOWN)
    cases = {info.record.id: services.sessions.matched(info) or info.record.case_id for info in listed}
    names = names_of(services.cases, cases.values())
    count, size = services.prompting.memory
    # The device's name requires importing torch, which takes seconds; the first page after a start shouldn't wait.
    known = "torch" in sys.modules
    return Sessions(
        rows=tuple(session_row(info, names[cases[info.record.id]]) for info in listed),
        in_memory=count,
        bytes=size,
        max_bytes=services.settings.sessions.max_bytes,
        device=services.device.torch_name if known else services.settings.device,
        precision=services.device.precision if known else "",
        waiting=services.device.waiting,
        structures=tuple(services.settings.labels.structures),
    )


def read_attention(services: Services) -> tuple[Notice, ...]:
    return attention(read_delivery(services), read_jobs(services), read_sessions(services))
