"""`segloop sessions ...`, an HTTP client of the running server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.client import Client, Refused, Session
from app.errors import BadInput, UnknownSession

WIDTH = 100
"""The width of a table in columns, if the terminal isn't narrower."""


@contextmanager
def connected(address: str, token: str) -> Iterator[Client]:
    """The server's client ("": no token), with errors that say what to type."""
    with Client(address, token, program="segloop sessions") as client:
        try:
            yield client
        except Refused as error:
            if error.status == 401:
                raise BadInput(f"{address} asks for a token: give it with --token, or set SEGLOOP_TOKEN") from error
            raise


def show_all(client: Client) -> None:
    """A table of the newest thousand sessions, the one used last first."""
    rows = sorted(client.sessions(), key=lambda row: row.used, reverse=True)
    if not rows:
        typer.echo("there are no sessions")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("session", "who", "viewer", "image", "used", "steps", "label"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("session", "used"))
    for row in rows:
        cells = (row.name, row.who, row.client, _image(row), _time(row.used), row.steps, _label(row))
        # As text, so that user names aren't parsed as markup.
        table.add_row(*(Text(str(cell)) for cell in cells))
    _console().print(table)


def show_one(client: Client, name: str) -> None:
    """Everything that is known about a session."""
    row = client.session(_named(name))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    matched = row.matched_case_id or "not known yet; submitting looks for it"
    shown = {
        "session": row.name,
        "who": row.who,
        "viewer": row.client,
        "image": row.case_id,
        "in the archive": matched,
        "model": row.model,
        "opened": _time(row.opened),
        "used": _time(row.used),
        "steps": row.steps,
        "in memory": "yes" if row.open else "no; it comes back when it is used",
        "label": _label(row),
    }
    for heading, value in shown.items():
        table.add_row(heading, Text(str(value)))
    _console().print(table)


def submit(client: Client, name: str, structure: str, comment: str) -> None:
    """Keep a session's mask as the next final label of its image."""
    label = client.submit_session(_named(name), structure, comment)
    where = "" if label.matched else "; the image is not in the archive, so it is kept here as a case of its own"
    structures = ", ".join(label.structures)
    typer.echo(f"label {label.id}: {structures} of {label.case_id}, version {label.number}{where}")


def _named(name: str) -> str:
    """Check that a name has only letters, digits, `-` and `_`; anything else would change the path."""
    if not name or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise UnknownSession(f"there is no session {name!r}; `segloop sessions list` shows those there are")
    return name


def _image(row: Session) -> str:
    return str(row.matched_case_id or row.case_id)


def _label(row: Session) -> str:
    return "" if row.label_id is None else str(row.label_id)


def _time(moment: datetime) -> str:
    """In local time."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal or console.width > WIDTH:
        console.width = WIDTH
    return console
