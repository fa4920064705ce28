"""Who uses the server, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["annotator", "reviewer", "administrator"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may."""


@dataclass(frozen=True)
class Person:
    """Somebody who was let in. `name` is "" if the server doesn't know who it is: everyone has the same token, and the
    client says a name or none. With `marked`, such names are marked, because others have accounts."""

    name: str
    role: Role
    marked: bool = False

    def may(self, least: Role) -> bool:
        """Whether this person's role is `least` or more."""
        return ROLES.index(self.role) >= ROLES.index(least)


CredentialKind = Literal["token", "session"]
"""A personal token, for viewers and programs; or a sign-in, which a new password ends."""

TOKEN_DAYS = 365
"""How long a personal token is valid unless its owner says otherwise."""


@dataclass(frozen=True)
class Account:
    """Somebody who may use the server. `created` is in seconds since the epoch."""

    name: str
    role: Role
    created: float


@dataclass(frozen=True)
class Credential:
    """By what an account's person is recognised, without the secret. `expires` is None for one that doesn't."""

    id: int
    account: str
    kind: CredentialKind
    name: str
    created: float
    expires: float | None
