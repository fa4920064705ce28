"""Undo and redo of any number of steps of one session, from stored states: nothing is predicted.

After each step the model's state and the mask's change are stored (`app.services.prompting.states`). Going back puts
the stored state into the session that is open, so that it goes on as if the undone steps never were, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from app.core.model import InteractiveSession
from app.core.prompt import Region
from app.errors import BadFile
from app.services.prompting.log import Said, SessionLog, SessionRecord, Step, next_digest
from app.services.prompting.snapshots import Snapshot
from app.services.prompting.states import Flip, StateFiles, StoredState
from app.services.prompting.timeline import Mark, Timeline


@dataclass(frozen=True)
class Depth:
    """How many steps can be undone, and how many that were undone can be done again. A batch of steps is one."""

    undo: int = 0
    redo: int = 0


@dataclass(frozen=True)
class Trail:
    """The steps that can be undone, the latest first, and those that can be done again, the next first."""

    undo: list[Mark]
    redo: list[Mark]


def open_history(
    record: SessionRecord, log: SessionLog, most_bytes: int, session: InteractiveSession
) -> History | None:
    """The history of a session that has just been opened; None if its client has one step of undo, or its model's state
    can't be captured."""
    if not record.viewer.undoes_all or session.capture() is None:
        return None
    history = History(record, log, most_bytes)
    history.start(session)
    return history


class History:
    """The states of one session. Callers hold the session's lock.

    `known` is the mask as of the present position, by which the next step's change is found.
    """

    def __init__(self, record: SessionRecord, log: SessionLog, most_bytes: int) -> None:
        self._record = record
        self._timeline = Timeline.of(log.steps(record))
        self._digests = log.digests(record.id)
        self._files = StateFiles(log.states(record.id), most_bytes, self._digests)
        self._known = np.zeros((0, 0, 0), np.uint8)

    @property
    def depth(self) -> Depth:
        """How far one can go."""
        return Depth(len(self._earlier()), len(self._later()))

    @property
    def said(self) -> Said:
        """What is said of the session's structure."""
        return self._timeline.said

    @property
    def trail(self) -> Trail:
        """The steps of `depth`."""
        earlier, later, marks = self._earlier(), self._later(), self._timeline.marks
        made = [self._timeline.place, *earlier]
        return Trail([marks[one] for one in made[: len(earlier)]], [marks[one] for one in later])

    @property
    def positions(self) -> list[int]:
        """Those on the way to the present one, from the last mask that was adopted."""
        return self._timeline.path[max(0, self._timeline.floor - 1) :]

    def start(self, session: InteractiveSession) -> None:
        """Begin with a session that is at the present position."""
        self._known = session.mask.copy()

    def keep_place(self, session: InteractiveSession, edited: bool) -> None:
        """Store the present state if it isn't: the beginning, or one whose file was lost."""
        if self._timeline.place not in self._files:
            self._keep(self._timeline.place, None, session, edited, root=True)

    def add(self, step: Step, line: bytes, region: Region | None, session: InteractiveSession, edited: bool) -> None:
        """A step was logged that changed the mask within `region`: store the state after it."""
        self._digests.append(next_digest(self._digests[-1], line))
        self._files.drop(self._timeline.add(step))
        if step.kind != "return":
            self._keep(self._timeline.place, region, session, edited)

    def refill(self, position: int, region: Region | None, session: InteractiveSession, edited: bool) -> None:
        """A step was replayed that led to an earlier `position`: store the state if its file was lost."""
        if position == self._timeline.floor_position:  # an adopted mask: it was there before
            self.start(session)
        if position not in self._files:
            self._keep(position, region, session, edited, root=position == self._timeline.floor_position)
        elif region is not None:
            self._known[region.slices] = session.mask[region.slices]

    def next_back(self) -> int | None:
        """The position to which an undo returns; None if there is nothing to undo."""
        return next(iter(self._earlier()), None)

    def next_forward(self) -> int | None:
        """The position to which a redo returns; None if there is nothing to do again."""
        return next(iter(self._later()), None)

    def move(self, position: int, session: InteractiveSession) -> tuple[Region | None, bool]:
        """Put the state of a position into the session; returns the region that changed, and whether the mask was
        edited since the model's last prompt there. Raises `BadFile` if a file is damaged: the session is of no use
        then, and there is no way to that position any more."""
        try:
            target = self._files.read(position)
            between = [self._files.read(one).flip for one in self._timeline.between(position)]
            flips = [flip for flip in between if flip is not None]
            region: Region | None = None
            for flip in flips:
                region = flip.region if region is None else region.join(flip.region)
                flip.apply(self._known)
            session.move_to(target.state, self._known, region)
        except BadFile:
            self._files.drop([position, *self._timeline.between(position)])
            raise
        return region, target.edited

    def base(self, snapshot: Snapshot | None, version: str) -> tuple[Snapshot | None, list[int]]:
        """The latest state on the way to the present position that can be put together from `snapshot` and the stored
        states, and the positions after it; a `Snapshot` whose `steps` are its position."""
        path = [0, *self._timeline.path]
        for at in range(len(path) - 1, -1, -1):
            found = self._put_together(path[: at + 1], snapshot, version)
            if found is not None:
                return found, path[at + 1 :]
        return None, self.positions

    def _put_together(self, path: list[int], snapshot: Snapshot | None, version: str) -> Snapshot | None:
        """The state at the end of a path, from the snapshot or the empty mask and the changes after it."""
        position = path[-1]
        if snapshot is not None and snapshot.steps == position:
            return snapshot
        mask = np.zeros(self._record.shape, np.uint8)
        if snapshot is not None and snapshot.steps in path:
            mask, path = snapshot.mask.copy(), path[path.index(snapshot.steps) :]
        changes = path[1:]
        if position not in self._files or any(one not in self._files or self._files.is_root(one) for one in changes):
            return None
        try:
            for one in changes:
                flip = self._files.read(one).flip
                if flip is not None:
                    flip.apply(mask)
            stored = self._files.read(position)
        except BadFile:
            return None
        return Snapshot(position, version, stored.state, mask, stored.edited) if stored.version == version else None

    def _earlier(self) -> list[int]:
        """The positions to which undos can return, the nearest first."""
        known = set()
        for position in [*reversed(self._timeline.path), 0]:
            if position not in self._files:
                break
            known.add(position)
            if self._files.is_root(position):
                break
        return list(takewhile(known.__contains__, self._timeline.back()))

    def _later(self) -> list[int]:
        """The positions to which redos can return, the nearest first."""
        known = takewhile(
            lambda one: one in self._files and not self._files.is_root(one), reversed(self._timeline.undone)
        )
        return list(takewhile(set(known).__contains__, self._timeline.forward()))

    def _keep(
        self, position: int, region: Region | None, session: InteractiveSession, edited: bool, root: bool = False
    ) -> None:
        state = session.capture()
        flip = Flip.between(self._known, session.mask, region)
        if flip is not None:
            self._known[flip.region.slices] = session.mask[flip.region.slices]
        if state is not None:
            self._files.keep(position, self._digests[position], StoredState(session.version, state, flip, edited), root)
