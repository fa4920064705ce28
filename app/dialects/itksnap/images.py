"""Which image lies behind a session of ITK-SNAP's.

Nothing is kept here: the id says which model it is for, and its slot remembers, also over a restart, what was opened
for it. One session has one image at a time; sending another ends the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from app.core.volume import Volume
from app.dialects.itksnap.session_ids import SessionIds
from app.errors import Conflict, UnknownSession
from app.services.prompting.images import SentImage
from app.services.prompting.log import Viewer
from app.services.prompting.service import PromptService, Slot
from app.services.prompting.session import Session

CLIENT = "ITK-SNAP"
NO_IMAGE = "no image in this session: switch time point or reload the image, so that ITK-SNAP sends it again"
"""ITK-SNAP may believe that it has sent the image already; these are the ways to make it do so.

Protocol: docs/protocols/itksnap.md, section 3.
"""


@dataclass(frozen=True)
class Images:
    """The images of all sessions."""

    prompting: PromptService
    ids: SessionIds

    @contextmanager
    def of(self, session_id: str) -> Iterator[Session]:
        """The session on the image, to be prompted. Raises `UnknownSession`, and `Conflict` if there is no image."""
        with self._slot(session_id) as slot:
            try:
                yield slot.session
            except UnknownSession as error:  # nothing was sent, or its record is too old
                raise Conflict(NO_IMAGE) from error

    def put(self, session_id: str, image: Volume, placed: bool, model: str, who: str) -> None:
        """Make an image the session's. Raises what opening a session raises."""
        with self._slot(session_id) as slot:
            slot.open(SentImage(image, placed), model, {}, Viewer(CLIENT, who))

    def drop(self, session_id: str) -> None:
        """Take the session's image away, if it has one. Raises `UnknownSession`."""
        with self._slot(session_id) as slot:
            slot.close()

    def _slot(self, session_id: str) -> AbstractContextManager[Slot]:
        self.ids.model_of(session_id)
        return self.prompting.slot(f"itksnap:{session_id}")
