"""HTTP to one server: addresses, the token, and its errors."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from app.errors import BadInput, SegloopError, Unavailable

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 600.0
"""A first click on a large volume, or looking for a sent image in the archive, may take minutes."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

T = TypeVar("T")


class Refused(SegloopError):
    """The server answered with an error; the message is its own. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """Thread-safe. `address` may have a path: a proxy's, a token's (`/t/...`) or a user's (`/u/...`).

    Every method raises `Unavailable` if nothing like segloop answers, `Refused` for the server's own errors.
    """

    def __init__(self, address: str, headers: Mapping[str, str], ca_file: Path | None) -> None:
        """Raises `BadInput` for what is no address, and for certificates that can't be read."""
        self._address = address.rstrip("/")
        try:
            parts = urlsplit(address)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise BadInput(f"{address}: an address begins with http:// or https://")
            self._http = httpx.Client(
                base_url=f"{self._address}/api/v1",
                headers=dict(headers),
                timeout=httpx.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS),
                # Never a proxy for loopback.
                trust_env=parts.hostname not in _LOOPBACK,
                verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise BadInput(f"{address}: {error}") from error
        except OSError as error:  # ssl.SSLError is one
            raise BadInput(f"{ca_file}: {error}") from error

    def close(self) -> None:
        self._http.close()

    def get(self, kind: type[T], path: str, /, **params: object) -> T:
        """The answer to GET as a `kind`; parameters that are None are left out."""
        return self.ask(kind, "GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, kind: type[T], path: str, body: Mapping[str, Any] | None = None) -> T:
        return self.ask(kind, "POST", path, json=body)

    def ask(self, kind: type[T], method: str, path: str, **content: Any) -> T:
        return self._parsed(kind, self.send(method, path, **content))

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """The successful answer, whole. `content` is httpx's: `params`, `json`, `content`, `headers`."""
        try:
            answer = self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            raise self._silent(error) from error
        self._check(answer)
        return answer

    def parsed_or_none(self, kind: type[T], answer: httpx.Response) -> T | None:
        """None for an answer without content."""
        return None if answer.status_code == httpx.codes.NO_CONTENT else self._parsed(kind, answer)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """A successful answer to GET whose body has not been received yet."""
        try:
            with self._http.stream("GET", path, headers=headers) as answer:
                if not answer.is_success:
                    answer.read()
                self._check(answer)
                yield answer
        except httpx.HTTPError as error:
            raise self._silent(error) from error

    def _parsed(self, kind: type[T], answer: httpx.Response) -> T:
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise Unavailable(f"the server at {self._address} is not segloop, or of another version") from error

    def _silent(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(f"no server answers at {self._address} ({error}); is `segloop serve` running?")

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"the server at {self._address} is not segloop (status {answer.status_code})") from error
        raise Refused(detail, answer.status_code)


def segment(name: object) -> str:
    """A name as one segment of a path."""
    return quote(str(name), safe="")
