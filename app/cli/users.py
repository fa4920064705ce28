"""`segloop users`: accounts on the command line. The server may be running; it notices at once."""

from __future__ import annotations

import getpass
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.core.people import ROLES, TOKEN_DAYS, Role
from app.errors import ConfigurationError
from app.settings import load
from app.workspace import Workspace

if TYPE_CHECKING:
    from app.services.accounts import AccountService

users = typer.Typer(no_args_is_help=True, help="People who may use the server (setting `accounts`), and their tokens.")

Config = Annotated[Path | None, typer.Option(help="YAML file with settings")]
WorkspaceDir = Annotated[Path | None, typer.Option(help="the server's workspace")]
Name = Annotated[str, typer.Argument(help="the person's name, which becomes the author of labels")]
RoleOption = Annotated[str, typer.Option(help=f"one of {', '.join(ROLES)}")]
Generate = Annotated[bool, typer.Option("--generate", help="make a password and print it; else it is asked for")]
DAY = 86400.0


@users.command()
def add(
    name: Name,
    role: RoleOption = "annotator",
    generate: Generate = False,
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Add an account."""
    with _accounts(config, workspace) as accounts:
        password = _password(generate)
        accounts.add(name, _role(role), password, _who())
        typer.echo(f"{name} is {_role(role)}" + (f"; password: {password}" if generate else ""))


@users.command()
def reset(
    name: Name,
    role: Annotated[str, typer.Option(help="another role; the password stays")] = "",
    generate: Generate = False,
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Set another password, which ends sessions, or another role."""
    with _accounts(config, workspace) as accounts:
        if role:
            accounts.reset(name, _who(), role=_role(role))
            typer.echo(f"{name} is {_role(role)}")
            return
        password = _password(generate)
        accounts.reset(name, _who(), password=password)
        typer.echo(f"{name} has another password" + (f": {password}" if generate else ""))


@users.command()
def remove(name: Name, config: Config = None, workspace: WorkspaceDir = None) -> None:
    """Remove an account: its tokens, sessions and claimed cases end at once. Labels keep the name."""
    with _accounts(config, workspace) as accounts:
        accounts.remove(name, _who())
        typer.echo(f"{name} is removed")


@users.command("list")
def listed(config: Config = None, workspace: WorkspaceDir = None) -> None:
    """Accounts and their tokens."""
    with _accounts(config, workspace) as accounts:
        for account in accounts.accounts():
            typer.echo(f"{account.name}  {account.role}  since {_day(account.created)}")
            for token in accounts.tokens(account.name):
                until = "until revoked" if token.expires is None else f"until {_day(token.expires)}"
                typer.echo(f"  token {token.id}  {token.name}  {until}")


@users.command()
def token(
    name: Name,
    label: Annotated[str, typer.Option(help="what the token is for, such as a viewer")] = "viewer",
    days: Annotated[int, typer.Option(min=0, help="how long it is valid; 0: until it is revoked")] = TOKEN_DAYS,
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """Make a personal token, and print it once."""
    with _accounts(config, workspace) as accounts:
        typer.echo(accounts.issue(name, "token", label, days * DAY if days else None))


@users.command()
def revoke(
    token_id: Annotated[int, typer.Argument(help="its number in `segloop users list`")],
    config: Config = None,
    workspace: WorkspaceDir = None,
) -> None:
    """End a personal token."""
    with _accounts(config, workspace) as accounts:
        accounts.revoke(token_id, "", _who())
        typer.echo(f"token {token_id} is revoked")


@contextmanager
def _accounts(config: Path | None, workspace: Path | None) -> Iterator[AccountService]:
    from app.catalog import Catalog
    from app.services.accounts import AccountService

    settings, _ = load(config, {} if workspace is None else {"workspace": workspace})
    paths = Workspace.prepared(settings.workspace)
    catalog = Catalog.open(paths.catalog)
    try:
        yield AccountService(catalog, paths)
    finally:
        catalog.close()


def _role(text: str) -> Role:
    """Raises `ConfigurationError` for no role."""
    for role in ROLES:
        if text == role:
            return role
    raise ConfigurationError(f"{text!r} is no role; there are {', '.join(ROLES)}")


def _password(generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(12)
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("again: ") != password:
        raise ConfigurationError("the passwords differ")
    return password


def _who() -> str:
    return f"{getpass.getuser()} (segloop users)"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
