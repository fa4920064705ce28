"""`segloop sessions ...`, an HTTP client of the running server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.errors import BadInput, SegloopError, Unavailable, UnknownSession

WIDTH = 100
"""The width of a table in columns, if the terminal isn't narrower."""

_SECONDS = httpx.Timeout(10.0, read=600.0)  # looking for a sent image in the archive may take minutes
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Server:
    """The server's address and token ("": none)."""

    address: str
    token: str

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of the response. Raises `Unavailable` without one, and the server's error for a refused request."""
        with self._client() as client:
            answer = client.request(method, self._url(path), json=body)
            if answer.is_success:
                return _json(answer, self.address)
            raise _refusal(answer, self.address)

    def download(self, path: str, into: BinaryIO) -> None:
        """Write the body of a response to a file. Raises as `ask`."""
        with self._client() as client, client.stream("GET", self._url(path)) as answer:
            if not answer.is_success:
                answer.read()
                raise _refusal(answer, self.address)
            for part in answer.iter_bytes(1 << 20):
                into.write(part)

    def _url(self, path: str) -> str:
        return f"{self.address.rstrip('/')}/api/v1{path}"

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        """A client whose errors are raised as segloop's."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            local = urlsplit(self.address).hostname in _LOOPBACK
            # Never use a proxy for loopback.
            with httpx.Client(timeout=_SECONDS, trust_env=not local, headers=headers) as client:
                yield client
        except (httpx.InvalidURL, ValueError) as error:
            raise BadInput(f"--server {self.address}: {error}") from error
        except httpx.UnsupportedProtocol as error:
            raise BadInput(f"--server {self.address}: an address begins with http:// or https://") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"no server answers at {self.address} ({error}); is `segloop serve` running?") from error


def show_all(server: Server) -> None:
    """A table of the newest thousand sessions, the one used last first."""
    rows = sorted(server.ask("GET", "/sessions?limit=1000"), key=lambda row: row["used"], reverse=True)
    if not rows:
        typer.echo("there are no sessions")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("session", "who", "viewer", "image", "used", "steps", "label"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("session", "used"))
    for row in rows:
        cells = (row["name"], row["who"], row["client"], _image(row), _time(row["used"]), row["steps"], _label(row))
        # As text, so that user names aren't parsed as markup.
        table.add_row(*(Text(str(cell)) for cell in cells))
    _console().print(table)


def show_one(server: Server, name: str) -> None:
    """Everything that is known about a session."""
    row = server.ask("GET", f"/sessions/{_named(name)}")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    matched = row["matched_case_id"] or "not known yet; submitting looks for it"
    shown = {
        "session": row["name"],
        "who": row["who"],
        "viewer": row["client"],
        "image": row["case_id"],
        "in the archive": matched,
        "model": row["model"],
        "opened": _time(row["opened"]),
        "used": _time(row["used"]),
        "steps": row["steps"],
        "in memory": "yes" if row["open"] else "no; it comes back when it is used",
        "label": _label(row),
    }
    for heading, value in shown.items():
        table.add_row(heading, Text(str(value)))
    _console().print(table)


def submit(server: Server, name: str, structure: str, comment: str) -> None:
    """Keep a session's mask as the next final label of its image."""
    body = {"structure": structure, "comment": comment}
    label = server.ask("POST", f"/sessions/{_named(name)}/label", body)
    where = "" if label["matched"] else "; the image is not in the archive, so it is kept here as a case of its own"
    structures = ", ".join(label["structures"])
    typer.echo(f"label {label['id']}: {structures} of {label['case_id']}, version {label['number']}{where}")


def _named(name: str) -> str:
    """Check that a name has only letters, digits, `-` and `_`; anything else would change the path."""
    if not name or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise UnknownSession(f"there is no session {name!r}; `segloop sessions list` shows those there are")
    return name


def _json(answer: httpx.Response, address: str) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise Unavailable(f"the server at {address} is not segloop") from error


def _refusal(answer: httpx.Response, address: str) -> SegloopError:
    if answer.status_code == 401:
        return BadInput(f"{address} asks for a token: give it with --token, or set SEGLOOP_TOKEN")
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"the server at {address} is not segloop (status {answer.status_code})")
    return SegloopError(str(detail))


def _image(row: Mapping[str, Any]) -> str:
    return str(row["matched_case_id"] or row["case_id"])


def _label(row: Mapping[str, Any]) -> str:
    return "" if row["label_id"] is None else str(row["label_id"])


def _time(text: str) -> str:
    """In local time."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal or console.width > WIDTH:
        console.width = WIDTH
    return console
