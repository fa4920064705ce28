"""Which prompt session holds which structure of which annotator.

The protocol has no prompt sessions: each call brings every click on a structure so far. A structure's session notes
which clicks it has had, so that only new ones are predicted; losing a session costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from app.core.model import Option
from app.core.prompt import Prompt
from app.dialects.monailabel.clicks import Clicks
from app.services.prompting.service import PromptService, Slot
from app.services.prompting.session import Session


class StructureKey(NamedTuple):
    """`label` is "" for OHIF, which doesn't send it: there, another structure shows in this one's clicks missing."""

    owner: str
    case_id: str
    model: str
    label: str


@dataclass(frozen=True)
class Start:
    """What a session was opened on. If it is no longer so, the session is of no use."""

    stamp: str
    options: Mapping[str, Option]


@dataclass(frozen=True)
class _Had:
    """A session's note. `clicks` are those it has had; None if that isn't known, after something went wrong."""

    start: Start
    clicks: Clicks | None


@contextmanager
def clicked(
    prompting: PromptService, key: StructureKey, start: Start, wanted: Clicks, fresh: bool
) -> Iterator[Session]:
    """A session in which exactly `wanted` was clicked; it stays so until the block ends.

    `fresh` replays all clicks on an empty mask. Raises what opening and prompting a session raise.
    """
    with prompting.slot(key.owner, key) as slot:
        had = _noted(slot, start)
        new = had.clicks.until(wanted) if had is not None and had.clicks is not None and not fresh else None
        if new is not None:
            _add(slot.session, start, new)
        else:
            _add(_empty_session(slot, key, start), start, wanted.prompts())
        slot.session.note = _Had(start, wanted)
        yield slot.session


@contextmanager
def drawn(prompting: PromptService, key: StructureKey, start: Start, prompts: Sequence[Prompt]) -> Iterator[Session]:
    """The same for scribbles, which come as a whole each time: a session that has had exactly `prompts`."""
    with prompting.slot(key.owner, key) as slot:
        _add(_empty_session(slot, key, start), start, prompts)
        yield slot.session


def _noted(slot: Slot, start: Start) -> _Had | None:
    """What the slot's session has had; None if there is none that was opened on the same."""
    had = None if slot.empty else slot.session.note
    return had if isinstance(had, _Had) and had.start == start else None


def _empty_session(slot: Slot, key: StructureKey, start: Start) -> Session:
    if _noted(slot, start) is None:
        slot.open(key.case_id, key.model, start.options)
    else:
        slot.session.reset()
    return slot.session


def _add(session: Session, start: Start, prompts: Sequence[Prompt]) -> None:
    session.note = _Had(start, None)
    session.add(prompts)
