"""Session ids that this server knows again after a restart, without a table.

ITK-SNAP never asks for a new session on its own: an id it once got has to stay good for as long as it uses it
(docs/protocols/itksnap.md, section 3). So the id itself says which model it is for, signed by this server:

    <random>.<model>.<signature>        each part base64url without padding
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass

from app.errors import UnknownSession

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
