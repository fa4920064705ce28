"""Stateless session ids, which stay valid after a restart, and the image of a session.

ITK-SNAP never requests a new session on its own, so an id must stay valid as long as ITK-SNAP uses it
(docs/protocols/itksnap.md, section 3). So the id contains the model it is for, signed by this server:

    <random>.<model>.<signature>        each part base64url without padding

This module has no state: the model is in the id, and the prompt session is in the id's slot, also after a restart. A
session has one image at a time; sending another one closes the previous prompt session.
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
    """Creates and verifies ids. `secret` is the server's signing key."""

    secret: bytes

    def new(self, model: str) -> str:
        """A new id for a model, which can't be guessed or forged."""
        body = f"{secrets.token_urlsafe(16)}.{_encoded(model.encode())}"
        return f"{body}.{self._signature(body)}"

    def model_of(self, session_id: str) -> str:
        """The model of an id. Raises `UnknownSession` for an id that this server didn't sign."""
        body, _, signature = session_id.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise UnknownSession("this server gave out no such session; choose the server again in ITK-SNAP")
        try:
            return _decoded(body.partition(".")[2]).decode()
        except (binascii.Error, ValueError) as error:
            raise UnknownSession("this is no session of ITK-SNAP's") from error

    def _signature(self, body: str) -> str:
        # The prefix separates these signatures from others made with the same key.
        digest = hmac.digest(self.secret, b"itksnap session " + body.encode(), "sha256")
        return _encoded(digest[:_SIGNATURE_BYTES])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


CLIENT = "ITK-SNAP"
NO_IMAGE = "no image in this session: switch time point or reload the image, so that ITK-SNAP sends it again"
"""ITK-SNAP may assume that the server has the image already; this tells the user how to send it again.

Protocol: docs/protocols/itksnap.md, section 3.
"""


@dataclass(frozen=True)
class Images:
    """The images of all sessions."""

    prompting: PromptService
    ids: SessionIds

    @contextmanager
    def of(self, session_id: str) -> Iterator[Session]:
        """Lock the prompt session of an id. Raises `UnknownSession`, and `Conflict` if there is no image."""
        with self._slot(session_id) as slot:
            try:
                yield slot.session
            except UnknownSession as error:  # no image was sent, or its log was deleted because of its age
                raise Conflict(NO_IMAGE) from error

    def put(self, session_id: str, image: Volume, placed: bool, model: str, who: str) -> None:
        """Open a prompt session on an image, in place of the previous one. Raises as `PromptService.open`."""
        with self._slot(session_id) as slot:
            slot.open(SentImage(image, placed), model, {}, Viewer(CLIENT, who))

    def drop(self, session_id: str) -> None:
        """Close the prompt session of an id, if there is one. Raises `UnknownSession`."""
        with self._slot(session_id) as slot:
            slot.close()

    def _slot(self, session_id: str) -> AbstractContextManager[Slot]:
        self.ids.model_of(session_id)
        return self.prompting.slot(f"itksnap:{session_id}")
