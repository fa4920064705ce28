"""Which image lies behind a session of ITK-SNAP's.

Nothing is kept here: the id says which model it is for, and the prompt desk remembers, also over a restart, what was
opened for it. One session has one image at a time; sending another ends the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.core.volume import Volume
from app.dialects.itksnap.session_ids import SessionIds
from app.errors import Conflict, UnknownSession
from app.services.prompting.log import Viewer
from app.services.prompting.service import PromptService

CLIENT = "ITK-SNAP"
NO_IMAGE = "no image in this session: switch time point or reload the image, so that ITK-SNAP sends it again"
"""ITK-SNAP may believe that it has sent the image already; these are the ways to make it do so.

Protocol: docs/protocols/itksnap.md, section 3.
"""


@dataclass(frozen=True)
class Open:
    """A session with its image: the prompt desk's id, and whose it is there."""

    id: str
    owner: str


@dataclass(frozen=True)
class Images:
    """The images of all sessions."""

    desk: PromptService
    ids: SessionIds

    @contextmanager
    def of(self, session_id: str) -> Iterator[Open]:
        """The image of a session, to be prompted. Raises `UnknownSession`, and `Conflict` if there is none."""
        owner = self._owner(session_id)
        opened = self.desk.newest(owner)
        if opened is None:
            raise Conflict(NO_IMAGE)
        try:
            yield Open(opened, owner)
        except UnknownSession as error:  # it was closed meanwhile, or its record is too old
            raise Conflict(NO_IMAGE) from error

    def put(self, session_id: str, image: Volume, placed: bool, model: str, who: str) -> None:
        """Make an image the session's. Raises what `PromptService.open_image` raises."""
        self.desk.open_image(self._owner(session_id), image, placed, model, {}, Viewer(CLIENT, who))

    def drop(self, session_id: str) -> None:
        """Take the session's image away, if it has one. Raises `UnknownSession`."""
        owner = self._owner(session_id)
        opened = self.desk.newest(owner)
        if opened is not None:
            self.desk.close(opened, owner)

    def _owner(self, session_id: str) -> str:
        self.ids.model_of(session_id)
        return f"itksnap:{session_id}"
