"""Which steps of a session's log are in force, which were undone, and how far one can go back. Pure.

A *position* is a number of log entries: the state that the session had after as many of them; 0 is the beginning. A
`return` in the log goes to an earlier position, or forward again to one that was undone. Each other step gives a new
position, and ends what was undone. What led to the present state is a path of positions: replaying their steps, and
nothing else, gives the same state as if the undone steps never were.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from app.errors import IntegrityError
from app.services.prompting.log import Said, Step


@dataclass(frozen=True)
class Mark:
    """The time and the batch of the step that led to a position, and what was said of the structure there."""

    at: float
    batch: str
    said: Said


@dataclass
class Timeline:
    """The positions that led to the present one (`path`, without the beginning), and those that were undone, the next
    one last. `marks` tell of each. `floor` of the path can't be undone: what made them is gone (`adopt`)."""

    path: list[int] = field(default_factory=list)
    undone: list[int] = field(default_factory=list)
    floor: int = 0
    length: int = 0
    marks: dict[int, Mark] = field(default_factory=dict)
    _silent: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Self:
        """The timeline of a log. Raises `IntegrityError` if it returns to where it never was."""
        timeline = cls()
        for step in steps:
            timeline.add(step)
        return timeline

    @property
    def place(self) -> int:
        """The position of the present state."""
        return self.path[-1] if self.path else 0

    @property
    def floor_position(self) -> int:
        """The position of the last mask that was adopted; 0 if none was."""
        return self.path[self.floor - 1] if self.floor else 0

    def add(self, step: Step) -> list[int]:
        """Take in the log's next entry; returns the positions to which there is no way any more."""
        self.length += 1
        if step.kind == "return":
            self._return(step.to)
            return []
        dropped, self.undone = self.undone, []
        before = self.marks.get(self.place)
        self.path.append(self.length)
        if step.kind == "adopt":
            self.floor = len(self.path)
        same_batch = before is not None and step.batch != "" and step.batch == before.batch
        if step.kind == "options" or same_batch:
            self._silent.add(self.length)  # undone with the step before
        said: Said = step.said if step.kind == "say" else ""
        if before is not None and (step.kind == "options" or step.shown):
            said = before.said
        self.marks[self.length] = Mark(step.at, step.batch, said)
        return dropped

    def back(self) -> Iterable[int]:
        """The positions to which one undo after the other returns."""
        at = len(self.path)
        while at > self.floor:
            at -= 1
            while at > self.floor and self.path[at] in self._silent:
                at -= 1
            if self.path[at] in self._silent:
                return
            yield self.path[at - 1] if at else 0

    def forward(self) -> Iterable[int]:
        """The positions to which one redo after the other returns."""
        waiting = list(self.undone)
        while waiting:
            position = waiting.pop()
            while waiting and waiting[-1] in self._silent:
                position = waiting.pop()
            yield position

    @property
    def said(self) -> Said:
        """What is said of the structure now."""
        return self.marks[self.place].said if self.path else ""

    def between(self, position: int) -> list[int]:
        """The positions whose changes of the mask lie between the present one and `position`, the nearest first."""
        if position == 0 or position in self.path:
            at = self.path.index(position) + 1 if position else 0
            return self.path[at:][::-1]
        at = self.undone.index(position)
        return self.undone[at:][::-1]

    def _return(self, position: int) -> None:
        if position == 0 or position in self.path:
            while self.place != position:
                self.undone.append(self.path.pop())
        elif position in self.undone:
            while self.place != position:
                self.path.append(self.undone.pop())
        else:
            raise IntegrityError(f"a session's log returns to {position}, where it never was")
