"""Which prompt session holds which structure of which annotator.

The protocol has no prompt sessions: each call brings every click on a structure so far. This table remembers which
clicks a session has had, so that only new ones are predicted; losing an entry costs time and nothing else.

Locks: `_lock` guards the table and is held for moments. Each structure's own lock is held while its clicks are
predicted and its mask is read; who holds it takes no other lock of this module.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from app.core.model import Option
from app.core.prompt import Prompt
from app.dialects.monailabel.clicks import Clicks
from app.errors import UnknownSession
from app.services.prompting.service import PromptService


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


@dataclass(eq=False)
class _Structure:
    """`clicks` are those the session has had; None if that isn't known, after something went wrong."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    session_id: str | None = None
    start: Start | None = None
    clicks: Clicks | None = None


class Structures:
    """The table. The least recently used entries go when there are more than `size`."""

    def __init__(self, prompts: PromptService, size: int = 256) -> None:
        self._prompts = prompts
        self._size = size
        self._table: OrderedDict[StructureKey, _Structure] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def clicked(self, key: StructureKey, start: Start, wanted: Clicks, fresh: bool) -> Iterator[str]:
        """The id of a session in which exactly `wanted` was clicked; it stays so until the block ends.

        `fresh` replays all clicks on an empty mask. Raises what `PromptService.open` and `PromptService.add` raise.
        """
        with self._held(key) as structure:
            had = structure.clicks
            new = had.until(wanted) if had is not None and structure.start == start and not fresh else None
            structure.clicks = None
            yield self._brought(key, structure, start, new, wanted.prompts(), wanted)

    @contextmanager
    def drawn(self, key: StructureKey, start: Start, prompts: Sequence[Prompt]) -> Iterator[str]:
        """The same for scribbles, which come as a whole each time: a session that has had exactly `prompts`."""
        with self._held(key) as structure:
            structure.clicks = None
            yield self._brought(key, structure, start, None, prompts, None)

    def _brought(
        self,
        key: StructureKey,
        structure: _Structure,
        start: Start,
        new: Sequence[Prompt] | None,
        every: Sequence[Prompt],
        clicks: Clicks | None,
    ) -> str:
        session_id = self._extended(key, structure, new) or self._replayed(key, structure, start, every)
        structure.clicks = clicks
        return session_id

    def _extended(self, key: StructureKey, structure: _Structure, new: Sequence[Prompt] | None) -> str | None:
        if new is None or structure.session_id is None:
            return None
        try:
            self._prompts.add(structure.session_id, key.owner, new)
        except UnknownSession:
            return None  # it was idle for too long
        return structure.session_id

    def _replayed(self, key: StructureKey, structure: _Structure, start: Start, every: Sequence[Prompt]) -> str:
        session_id = self._emptied(key, structure) if structure.start == start else None
        if session_id is None:
            self._close(key, structure)
            session_id = self._prompts.open(key.owner, key.case_id, key.model, start.options)
            structure.session_id, structure.start = session_id, start
        self._prompts.add(session_id, key.owner, every)
        return session_id

    def _emptied(self, key: StructureKey, structure: _Structure) -> str | None:
        if structure.session_id is None:
            return None
        try:
            self._prompts.reset(structure.session_id, key.owner)
        except UnknownSession:
            return None
        return structure.session_id

    def _close(self, key: StructureKey, structure: _Structure) -> None:
        if structure.session_id is not None:
            self._prompts.close(structure.session_id, key.owner)
            structure.session_id = None

    @contextmanager
    def _held(self, key: StructureKey) -> Iterator[_Structure]:
        evicted = []
        with self._lock:
            structure = self._table.setdefault(key, _Structure())
            self._table.move_to_end(key)
            while len(self._table) > self._size:
                evicted.append(self._table.popitem(last=False))
        for old_key, old in evicted:
            with old.lock:
                self._close(old_key, old)
        with structure.lock:
            yield structure
