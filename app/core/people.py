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
    client says a name or none."""

    name: str
    role: Role

    def may(self, least: Role) -> bool:
        """Whether this person's role is `least` or more."""
        return ROLES.index(self.role) >= ROLES.index(least)
