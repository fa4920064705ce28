"""How long work reports how far it is, and learns that it should stop."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called between steps. Raises `app.errors.Cancelled` when someone asked for the work to stop."""

    def __call__(self, done: float, text: str = "") -> None:
        """`done` goes from 0 to 1."""


def ignore_progress(done: float, text: str = "") -> None:
    """A `Progress` that does nothing, for work that is neither shown nor cancelled."""
