"""Who prompts, in which viewer, on what; and how busy the device is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from app.services.prompting.log import SessionRecord
from app.services.prompting.submission import SessionInfo
from app.web.dashboard.case_name import CaseName

SHOWN = 20


@dataclass(frozen=True)
class SessionRow:
    """`name` is of no use to get into the session. `case` is the archive's as far as it is known, else the
    image it was opened on. `label_id` is None while there is no label, or something was done since."""

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
    """`in_memory` sessions take `bytes` of at most `max_bytes`; `waiting` pieces of work are in line for the device.
    `precision` is "" until something has been computed. `structures` are what a label may be of."""

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
