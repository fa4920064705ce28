"""Session ids that this server knows again after a restart, without a table, and which image lies behind a session.

ITK-SNAP never asks for a new session on its own: an id it once got has to stay good for as long as it uses it
(docs/protocols/itksnap.md, section 3). So the id itself says which model it is for, signed by this server:

    <random>.<model>.<signature>        each part base64url without padding

Nothing is kept here: the id says which model it is for, and its slot remembers, also over a restart, what was opened
for it. One session has one image at a time; sending another ends the one before.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from app.core.volume import Volume
from app.errors import Conflict, UnknownSession
from app.services.prompting.images import SentImage
from app.services.prompting.log import Viewer
from app.services.prompting.service import PromptService, Slot
from app.services.prompting.session import Session

_SIGNATURE_BYTES = 16


@dataclass(frozen=True)
class SessionIds:
    """Makes and checks ids. `secret` is the server's."""

    secret: bytes

    def new(self, model: str) -> str:
        """An id that nobody can guess or make up, for a model."""
        body = f"{secrets.token_urlsafe(16)}.{_encoded(model.encode())}"
        return f"{body}.{self._signature(body)}"

    def model_of(self, session_id: str) -> str:
        """The model an id was made for. Raises `UnknownSession` for one that this server didn't make."""
        body, _, signature = session_id.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise UnknownSession("this server gave out no such session; choose the server again in ITK-SNAP")
        try:
            return _decoded(body.partition(".")[2]).decode()
        except (binascii.Error, ValueError) as error:
            raise UnknownSession("this is no session of ITK-SNAP's") from error

    def _signature(self, body: str) -> str:
        # The prefix keeps signatures of this kind apart from any other that is made with the same secret.
        digest = hmac.digest(self.secret, b"itksnap session " + body.encode(), "sha256")
        return _encoded(digest[:_SIGNATURE_BYTES])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


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
