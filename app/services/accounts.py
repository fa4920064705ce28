"""Accounts: who may use the server, passwords, and tokens.

Everything that lets somebody in is kept in memory, because each request is checked. Other processes change accounts
too (`segloop users`): whoever changes them touches the file `accounts` in the workspace, and `current` looks at it each
time.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from hashlib import sha256

from app.catalog import Catalog
from app.catalog.accounts import Known
from app.core.people import Account, Credential, CredentialKind, Person, Role
from app.errors import BadInput
from app.workspace import Workspace

LEAST_PASSWORD = 10
"""Characters of a password."""

SESSION_SECONDS = 7 * 86400.0
TOKEN_PREFIX = "segloop_"  # noqa: S105 - no secret
"""What a token begins with, so that tools that search for secrets can find it."""

_NAME = re.compile(r"[^\W_][\w .@-]{0,62}")
_MOST_VERIFIED = 1000


class AccountService:
    """Accounts, passwords and tokens. Thread-safe."""

    def __init__(self, catalog: Catalog, paths: Workspace) -> None:
        self._table = catalog.accounts
        self._stamp_file = paths.accounts
        self._lock = threading.Lock()
        self._stamp = -2
        self._known = Known({}, {}, {})
        self._verified: dict[bytes, str] = {}
        """Digest of a name and password that were right -> the hash that they were compared with."""
        self._key = secrets.token_bytes(32)
        self._first_code = secrets.token_hex(8)
        self._slots = threading.BoundedSemaphore(2)  # argon2 takes 64 MiB for each comparison

    # Looking up

    def is_stale(self) -> bool:
        """Whether accounts have changed since they were read."""
        return self._changed() != self._stamp

    def current(self) -> Known:
        """All that lets somebody in, read again if it has changed."""
        stamp = self._changed()
        if stamp != self._stamp:
            with self._lock:
                # What changes from here on has another stamp.
                self._known, self._stamp = self._table.known(), stamp
                self._verified.clear()
        return self._known

    @property
    def first_code(self) -> str:
        """The code with which the first administrator is made; "" once there are accounts. Another at each start."""
        return "" if self.current().accounts else self._first_code

    def accounts(self) -> list[Account]:
        """All accounts, by name."""
        return list(self.current().accounts.values())

    def is_gone(self, name: str) -> bool:
        """Whether somebody who had an account has none any more. "" never had one."""
        return bool(name) and name not in self.current().accounts

    def tokens(self, name: str) -> list[Credential]:
        """The tokens of an account, oldest first."""
        found = self.current().credentials.values()
        return [one for one in found if one.account == name and one.kind == "token"]

    def by_secret(self, secret: str) -> Person | None:
        """Whose token or session this is."""
        known = self.current()
        found = known.credentials.get(_digest(secret))
        if found is None or (found.expires is not None and found.expires <= time.time()):
            return None
        return _person(known, found.account)

    def remembered(self, name: str, password: str) -> Person | None:
        """As `by_password` for a password that was right before; quick."""
        known = self.current()
        right = self._verified.get(self._mark(name, password))
        return _person(known, name) if right is not None and right == known.passwords.get(name) else None

    def by_password(self, name: str, password: str) -> Person | None:
        """The person of an account, if the password is right. Takes a tenth of a second, also for an unknown name."""
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        known = self.current()
        wanted = known.passwords.get(name)
        with self._slots:
            try:
                PasswordHasher().verify(wanted or _nobody(), password[:1024])
            except (Argon2Error, InvalidHashError):
                return None
        if wanted is None:
            return None
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[self._mark(name, password)] = wanted
        return _person(known, name)

    # Changing

    def add(self, name: str, role: Role, password: str, who: str, *, only_first: bool = False) -> None:
        """Add an account. Raises `BadInput` for a name or password that isn't usable, `Conflict`."""
        if not _NAME.fullmatch(name) or name != name.strip():
            raise BadInput("a name has up to 63 letters, digits, spaces and .@_-, and begins with a letter or digit")
        self._table.add(name, role, hashed(password, name), who, only_first=only_first)
        self._touch()

    def reset(self, name: str, who: str, *, password: str | None = None, role: Role | None = None) -> None:
        """Set another password, which ends sessions, or another role. Raises `BadInput`, `NotFound`."""
        self._table.change(name, who, role=role, password=None if password is None else hashed(password, name))
        self._touch()

    def remove(self, name: str, who: str) -> None:
        """Remove an account: its tokens, sessions and claims end at once, its labels keep the name. Raises
        `NotFound`."""
        self._table.remove(name, who)
        self._touch()

    def issue(self, name: str, kind: CredentialKind, label: str, seconds: float | None) -> str:
        """Make a token or session that is valid for `seconds` (None: until it is revoked); returns its secret, which
        isn't stored. Raises `NotFound`."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(24)
        expires = None if seconds is None else time.time() + seconds
        self._table.issue(name, kind, label[:100], _digest(secret), expires)
        self._touch()
        return secret

    def revoke(self, credential_id: int, owner: str, who: str) -> None:
        """End a token of `owner` ("" for anybody's). Raises `NotFound`."""
        self._table.revoke(credential_id, owner, who)
        self._touch()

    def end(self, secret: str) -> None:
        """End a session, if there is one with this secret."""
        found = self.current().credentials.get(_digest(secret))
        if found is not None:
            self.revoke(found.id, "", found.account)

    def _touch(self) -> None:
        self._stamp_file.touch(0o600)
        stamp = max(time.time_ns(), self._stamp + 1)  # the clock of files is too coarse for two changes in a row
        os.utime(self._stamp_file, ns=(stamp, stamp))
        self.current()

    def _changed(self) -> int:
        try:
            return self._stamp_file.stat().st_mtime_ns
        except FileNotFoundError:
            return -1

    def _mark(self, name: str, password: str) -> bytes:
        return sha256(self._key + name.encode() + b"\0" + password.encode()).digest()


def hashed(password: str, name: str) -> str:
    """The argon2id hash of a password. Raises `BadInput` for one that can be guessed."""
    from argon2 import PasswordHasher

    if len(password) < LEAST_PASSWORD or len(set(password)) < 5 or name.casefold() in password.casefold():
        raise BadInput(
            f"a password has at least {LEAST_PASSWORD} characters, 5 of them different, and not the name in it"
        )
    return PasswordHasher().hash(password[:1024])


_nobody_hash: list[str] = []


def _nobody() -> str:
    """The hash of no password, with which unknown names are compared: they must not be answered sooner."""
    if not _nobody_hash:
        _nobody_hash.append(hashed(secrets.token_urlsafe(16), "-" * 20))
    return _nobody_hash[0]


def _person(known: Known, name: str) -> Person | None:
    found = known.accounts.get(name)
    return None if found is None else Person(found.name, found.role)


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
