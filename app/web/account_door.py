"""Letting people with accounts in."""

from __future__ import annotations

from fastapi.concurrency import run_in_threadpool

from app.core.people import Person
from app.services.accounts import SESSION_SECONDS, AccountService
from app.web.carriers import Shown
from app.web.doors import SharedToken


class AccountDoor:
    """Accounts, and beside them the shared token, if there is one: whoever has that is an annotator, and the name that
    the client says is marked."""

    sign_in = "/sign-in"

    def __init__(self, accounts: AccountService, shared_token: str) -> None:
        self._accounts = accounts
        self._shared = SharedToken(shared_token) if shared_token else None

    async def admit(self, shown: Shown) -> Person | None:
        """See `Door.admit`. A password is compared in a thread; all else takes microseconds, but for when accounts have
        just changed."""
        if self._accounts.is_stale():
            await run_in_threadpool(self._accounts.current)
        person = self._accounts.by_secret(shown.secret)
        if person is not None:
            return person
        if self._shared is not None and await self._shared.admit(shown) is not None:
            return Person("", "annotator", marked=True)
        if shown.kind != "basic" or not shown.user:
            return None
        return await self._by_password(shown.user, shown.secret)

    async def bearer(self, user: str, password: str) -> str:
        """See `Door.bearer`. A token that is shown as the password is answered with itself."""
        person = await self.admit(Shown("basic", password, user))
        if person is None:
            return ""
        if self._accounts.by_secret(password) is not None or not person.name:
            return password
        return await self._new_session(person.name, "MONAI Label login")

    async def cookie(self, person: Person) -> str:
        """See `Door.cookie`."""
        if not person.name:
            return "" if self._shared is None else await self._shared.cookie(person)
        return await self._new_session(person.name, "browser")

    async def _by_password(self, user: str, password: str) -> Person | None:
        remembered = self._accounts.remembered(user, password)
        return remembered or await run_in_threadpool(self._accounts.by_password, user, password)

    async def _new_session(self, name: str, label: str) -> str:
        return await run_in_threadpool(self._accounts.issue, name, "session", label, SESSION_SECONDS)
