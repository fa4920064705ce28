"""Who is let in, by which credential."""

from __future__ import annotations

import hmac
import secrets
import time
from hashlib import sha256
from typing import Protocol

from app.core.people import Person
from app.web.carriers import Shown

COOKIE_SECONDS = 7 * 86400
"""How long a browser stays signed in."""


class Door(Protocol):
    """Checks credentials. Runs on the event loop, and must not block it."""

    async def admit(self, shown: Shown) -> Person | None:
        """Whom a credential belongs to; None if it is wrong."""

    async def bearer(self, user: str, password: str) -> str:
        """A token for a user name and password (MONAI Label's login); "" if they are wrong."""

    async def cookie(self, person: Person) -> str:
        """The value of a new session cookie for somebody who was let in."""

    @property
    def sign_in(self) -> str:
        """The path of the page to sign in on; "" if there is none."""


class SharedToken:
    """One token for everybody, with all rights. Names are what clients say."""

    sign_in = ""

    def __init__(self, token: str) -> None:
        self.token = token
        self._key = sha256(b"segloop session cookie " + token.encode()).digest()

    async def admit(self, shown: Shown) -> Person | None:
        """See `Door.admit`."""
        right = self._is_signed(shown.secret) if shown.kind == "cookie" else self._matches(shown.secret)
        return Person("", "administrator") if right else None

    async def bearer(self, user: str, password: str) -> str:
        """See `Door.bearer`."""
        return self.token if self._matches(password) else ""

    async def cookie(self, person: Person) -> str:
        """When it expires, signed with the token: another token ends it."""
        expires = str(int(time.time()) + COOKIE_SECONDS)
        return f"{expires}.{self._signature(expires)}"

    def _is_signed(self, value: str) -> bool:
        expires, _, signature = value.partition(".")
        right = secrets.compare_digest(signature.encode(), self._signature(expires).encode())
        return right and int(expires) > time.time()

    def _signature(self, expires: str) -> str:
        return hmac.new(self._key, expires.encode(), sha256).hexdigest()

    def _matches(self, shown: str) -> bool:
        return secrets.compare_digest(shown.encode(), self.token.encode())
