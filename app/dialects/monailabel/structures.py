"""The prompt sessions, one per structure and annotator.

The protocol has no prompt sessions: each request contains all clicks on a structure so far. A structure's session
stores the clicks it has processed, so that only new ones are predicted. If a session is lost, all are predicted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from app.core.model import Option
from app.core.prompt import Prompt
from app.dialects.monailabel.clicks import Clicks
from app.errors import Cancelled
from app.services.prompting.service import PromptService, Slot
from app.services.prompting.session import Session


class StructureKey(NamedTuple):
    """The key of a slot. `label` is "" for OHIF, which doesn't send it; a change of structure then appears as removed
    clicks."""

    owner: str
    case_id: str
    model: str
    label: str


@dataclass(frozen=True)
class Start:
    """What a session was opened on. If this changes, the session can't be used any more."""

    stamp: str
    options: Mapping[str, Option]


@dataclass(frozen=True)
class _Had:
    """A session's note. `clicks` are those it has processed; None if unknown, after an error."""

    start: Start
    clicks: Clicks | None


@contextmanager
def clicked(
    prompting: PromptService, key: StructureKey, start: Start, wanted: Clicks, fresh: bool
) -> Iterator[Session]:
    """A locked session that has processed exactly the clicks `wanted`.

    `fresh` replays all clicks on an empty mask. Raises what opening and prompting a session raise.
    """
    with prompting.slot(key.owner, key) as slot:
        had = _noted(slot, start)
        known = None if had is None or fresh else had.clicks
        new = None if known is None else known.until(wanted)
        if known is not None and new is not None:
            _add(slot.session, start, new, known)
        else:
            _add(_empty_session(slot, key, start), start, wanted.prompts(), Clicks())
        slot.session.note = _Had(start, wanted)
        yield slot.session


@contextmanager
def drawn(prompting: PromptService, key: StructureKey, start: Start, prompts: Sequence[Prompt]) -> Iterator[Session]:
    """As above for scribbles, which are sent completely each time: a session that has processed exactly `prompts`."""
    with prompting.slot(key.owner, key) as slot:
        _add(_empty_session(slot, key, start), start, prompts, None)
        yield slot.session


def _noted(slot: Slot, start: Start) -> _Had | None:
    """What the slot's session has processed; None if there is no session opened on the same case, model and options."""
    had = None if slot.empty else slot.session.note
    return had if isinstance(had, _Had) and had.start == start else None


def _empty_session(slot: Slot, key: StructureKey, start: Start) -> Session:
    if _noted(slot, start) is None:
        slot.open(key.case_id, key.model, start.options)
    else:
        slot.session.reset()
    return slot.session


def _add(session: Session, start: Start, prompts: Sequence[Prompt], before: Clicks | None) -> None:
    """Add prompts to a session that has processed the clicks `before`. A client that has gone takes back the click in
    progress as a whole: the mask of a request must not depend on when an earlier one broke off. Those before it are
    kept, so that a long request that a proxy cuts off gets further each time it is repeated."""
    session.note = _Had(start, None)
    for number, prompt in enumerate(prompts):
        try:
            session.add([prompt], whole=True)
        except Cancelled:
            if before is not None:
                session.note = _Had(start, before.after(prompts[:number]))
            raise
