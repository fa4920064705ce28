"""Ending a prediction early: when its client has gone, or the next prompt, undo or reset of the session waits.

Between two patches only, and only as follows (docs/decisions/0017):

* The client has gone before the first patch was finished: the prompt never happened.
* It has gone later, or the session's next request waits: the prediction ends with the patches that are done. Their
  number is logged with the step, so that a replay does the same.
* A prediction that can't be divided (no limit of patches, or a request that counts as a whole) is taken back if the
  client has gone, and otherwise finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.core.connection import Connection
from app.errors import Cancelled


@dataclass(frozen=True)
class PatchProgress:
    """How far a prediction is: patches that are `done`, of at most `most` (None without a limit). `session` is the
    session's public name."""

    session: str
    done: int
    most: int | None


class LivePatches:
    """`Patches` of a prediction that somebody waits for. `overtaken` says whether the session's next request waits.
    `whole`: the prediction is not to be ended by that, nor kept in part. `done` are the patches that were begun: all of
    them are done once the prediction has come to its end."""

    def __init__(self, connection: Connection, overtaken: Callable[[], bool], whole: bool) -> None:
        self._connection = connection
        self._overtaken = overtaken
        self._whole = whole
        self.restart()

    def restart(self) -> None:
        """Begin to count, or begin anew. Raises `Cancelled` if the client has gone already."""
        self._ended = False
        self.done = 0
        self.most: int | None = None
        self._check_connection()

    def begin(self, most: int | None) -> bool:
        """See `Patches.begin`. Raises `Cancelled`."""
        if self._ended:
            return False
        self.most = most
        in_parts = most is not None and not self._whole
        if not in_parts or self.done < 2:
            self._check_connection()
        if in_parts and self.done > 0:
            self._ended = self._connection.closed or self._overtaken()
        self.done += not self._ended
        return not self._ended

    def _check_connection(self) -> None:
        if self._connection.closed:
            raise Cancelled("the client has closed its connection; nothing was changed")


class ReplayedPatches:
    """`Patches` of a step from the log: exactly as many as it had, or all (None)."""

    def __init__(self, wanted: int | None) -> None:
        self._wanted = wanted
        self.restart()

    def restart(self) -> None:
        """Begin to count, or begin anew."""
        self._left = self._wanted

    def begin(self, most: int | None) -> bool:
        """See `Patches.begin`."""
        if self._left is None or most is None:
            return True
        self._left -= 1
        return self._left >= 0
