"""The callback by which long work reports progress and is cancelled."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called between steps. Raises `app.errors.Cancelled` to stop the work."""

    def __call__(self, done: float, text: str = "") -> None:
        """`done` goes from 0 to 1; `text` describes the current step."""


def ignore_progress(done: float, text: str = "") -> None:
    """A `Progress` that does nothing, for work that is neither shown nor cancelled."""
