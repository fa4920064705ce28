"""A prompt session of one's own."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from app.client.connection import Connection, Refused, segment
from app.client.shapes import Change, OpenedSession, Redone, SubmittedLabel, Undone
from app.client.voxels import encoded, unpacked
from app.core.prompt import Prompt, Region


class PromptSession:
    """Opened by `Client.open_session`; a context manager that closes it. Not thread-safe.

    `mask` is what is segmented now, bool `(k, j, i)`, and is kept up to date here: only what changes is sent. `name` is
    the session's public name.
    """

    def __init__(self, connection: Connection, opened: OpenedSession) -> None:
        self._connection = connection
        self._path = f"/sessions/{segment(opened.id)}"
        self.name = opened.name
        self.case_id = opened.case_id
        self.model = opened.model
        self.mask: NDArray[np.bool_] = np.zeros(opened.shape, bool)

    def __enter__(self) -> PromptSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def add(self, *prompts: Prompt) -> NDArray[np.bool_]:
        """Add prompts in their order, predict, and return `mask`."""
        body = {"prompts": [encoded(prompt) for prompt in prompts]}
        return self._apply(self._connection.post(Change, f"{self._path}/prompts", body))

    def start(
        self, model: str = "", label_id: int | None = None, structure: str = "", refine: bool = False
    ) -> NDArray[np.bool_]:
        """Start from the mask of an automatic model, or of a label version. Removes all earlier prompts."""
        body = {"model": model, "label_id": label_id, "structure": structure, "refine": refine}
        return self._apply(self._connection.post(Change, f"{self._path}/start", body))

    def undo(self) -> bool:
        """Take the last step back, a prompt, start or reset; False if there is none that can be."""
        change = self._connection.post(Undone, f"{self._path}/undo")
        self._apply(change)
        return change.undone

    def redo(self) -> bool:
        """Make the step again that was undone last; False if there is none."""
        change = self._connection.post(Redone, f"{self._path}/redo")
        self._apply(change)
        return change.redone

    def reset(self) -> None:
        """Forget the prompts and empty the mask."""
        self._connection.send("POST", f"{self._path}/reset")
        self.mask[:] = False

    def submit(self, structure: str = "", comment: str = "") -> SubmittedLabel:
        """Keep the mask as the next final label of the case. The structure may be left out if the project has one."""
        body = {"structure": structure, "comment": comment}
        return self._connection.post(SubmittedLabel, f"{self._path}/label", body)

    def close(self) -> None:
        """Free the server's memory; the session's log stays, and can be submitted by its name."""
        try:
            self._connection.send("DELETE", self._path)
        except Refused as error:
            if error.status != 404:  # it may have expired
                raise

    def _apply(self, change: Change) -> NDArray[np.bool_]:
        if change.region is not None and change.voxels is not None:
            region = Region(change.region.low, change.region.high)
            self.mask[region.slices] = unpacked(change.voxels, region.shape) != 0
        return self.mask
