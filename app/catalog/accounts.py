"""Accounts, and by what their people are recognised. Secrets are stored as digests only."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from app.catalog.audit import Audit
from app.catalog.database import Database
from app.catalog.schema import account, credential, lease
from app.core.people import Account, Credential, CredentialKind, Role
from app.errors import Conflict, NotFound


@dataclass(frozen=True)
class Known:
    """Everything that lets somebody in: password hashes by account, credentials by the SHA-256 of their secret."""

    accounts: dict[str, Account]
    passwords: dict[str, str]
    credentials: dict[str, Credential]


class Accounts:
    """The tables `account` and `credential`."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    def known(self) -> Known:
        """All accounts and the credentials that haven't expired."""
        with self._database.read() as connection:
            people = connection.execute(sa.select(account).order_by(account.c.name)).all()
            rows = connection.execute(sa.select(credential).order_by(credential.c.id)).all()
        now = time.time()
        return Known(
            accounts={row.name: Account(row.name, row.role, row.created) for row in people},
            passwords={row.name: row.password for row in people},
            credentials={
                row.sha256: Credential(row.id, row.account, row.kind, row.name, row.created, row.expires)
                for row in rows
                if row.expires is None or row.expires > now
            },
        )

    def add(self, name: str, role: Role, password: str, who: str, *, only_first: bool = False) -> None:
        """Add an account with a password hash. Raises `Conflict` if there is one of this name, or with `only_first`
        any."""
        with self._database.write() as connection:
            names = set(connection.scalars(sa.select(account.c.name)))
            if name in names or (only_first and names):
                raise Conflict(f"there is an account {name!r}" if name in names else "there is an account already")
            connection.execute(sa.insert(account).values(name=name, role=role, password=password, created=time.time()))
            self._audit.record(connection, who, "account.add", name, {"role": role})

    def change(self, name: str, who: str, *, role: Role | None = None, password: str | None = None) -> None:
        """Set a role, or a password hash, which ends sessions. Raises `NotFound`."""
        values = {"role": role, "password": password}
        with self._database.write() as connection:
            self._require(connection, name)
            changed = {key: value for key, value in values.items() if value is not None}
            connection.execute(sa.update(account).where(account.c.name == name).values(changed))
            if password is not None:
                connection.execute(
                    sa.delete(credential).where(credential.c.account == name, credential.c.kind == "session")
                )
            self._audit.record(connection, who, "account.change", name, {"changed": sorted(changed), "role": role})

    def remove(self, name: str, who: str) -> None:
        """Remove an account, with its credentials and the cases it has claimed. Labels keep its name. Raises
        `NotFound`."""
        with self._database.write() as connection:
            self._require(connection, name)
            connection.execute(sa.delete(credential).where(credential.c.account == name))
            connection.execute(sa.delete(lease).where(lease.c.holder == name))
            connection.execute(sa.delete(account).where(account.c.name == name))
            self._audit.record(connection, who, "account.remove", name, {})

    def issue(self, name: str, kind: CredentialKind, label: str, sha256: str, expires: float | None) -> None:
        """Add a credential. Raises `NotFound`."""
        with self._database.write() as connection:
            self._require(connection, name)
            now = time.time()
            connection.execute(sa.delete(credential).where(credential.c.expires <= now))
            row = {"account": name, "kind": kind, "name": label, "sha256": sha256, "created": now, "expires": expires}
            connection.execute(sa.insert(credential).values(row))
            if kind == "token":
                self._audit.record(connection, name, "token.add", name, {"name": label, "expires": expires})

    def revoke(self, credential_id: int, owner: str, who: str) -> None:
        """Delete a credential of `owner` ("" for anybody's). Raises `NotFound`."""
        with self._database.write() as connection:
            found = connection.execute(sa.select(credential).where(credential.c.id == credential_id)).one_or_none()
            if found is None or (owner and found.account != owner):
                raise NotFound(f"there is no token {credential_id}")
            connection.execute(sa.delete(credential).where(credential.c.id == credential_id))
            self._audit.record(connection, who, f"{found.kind}.revoke", found.account, {"name": found.name})

    @staticmethod
    def _require(connection: sa.Connection, name: str) -> None:
        if connection.execute(sa.select(account.c.name).where(account.c.name == name)).first() is None:
            raise NotFound(f"there is no account {name!r}")
