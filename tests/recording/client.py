"""Sending a script's requests to a server, and keeping what it answers."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.recording.bodies import described
from tests.recording.masking import Masks
from tests.recording.server import Server
from tests.recording.studies import Studies

SECONDS = 120.0
_BOUNDARY = "----------------recording"


@dataclass(frozen=True)
class Json:
    """A body of JSON."""

    value: Any


@dataclass(frozen=True)
class Form:
    """A multipart form: text fields, and files as `(file name, content)`."""

    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)

    def encoded(self) -> bytes:
        parts = []
        for name, (filename, content) in self.files.items():
            disposition = f'form-data; name="{name}"; filename="{filename}"'
            parts.append((disposition, "Content-Type: application/octet-stream\r\n", content))
        parts += [(f'form-data; name="{name}"', "", value.encode()) for name, value in self.fields.items()]
        body = b""
        for disposition, more, content in parts:
            body += f"--{_BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + content + b"\r\n"
        return body + f"--{_BOUNDARY}--\r\n".encode()


Body = Json | Form | bytes | None


@dataclass(frozen=True)
class Answer:
    """As it came over the wire."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def get(self, *keys: str | int, default: Any = "missing") -> Any:
        """A value in a JSON body; `default` where there is none, so that a script goes on after a refusal."""
        try:
            value = json.loads(self.content)
            for key in keys:
                value = value[key]
        except (ValueError, LookupError, TypeError):
            return default
        return value


@dataclass(frozen=True)
class Exchange:
    """A request in one line, and its answer, described and not yet masked."""

    script: str
    request: str
    status: int
    headers: Mapping[str, str]
    body: Any


class Site:
    """A server that a script talks to. `kind` is where its studies are: `folder` or `orthanc`."""

    def __init__(self, server: Server, kind: str, studies: Studies, masks: Masks) -> None:
        self.server = server
        self.kind = kind
        self.studies = studies
        self.masks = masks
        self.script = ""
        self.exchanges: list[Exchange] = []

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, None, **headers)

    def put(self, path: str, body: Body = None, **headers: str) -> Answer:
        return self.call("PUT", path, body, **headers)

    def post(self, path: str, body: Body = None, **headers: str) -> Answer:
        return self.call("POST", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Answer:
        return self.call("DELETE", path, None, **headers)

    def call(self, method: str, path: str, body: Body = None, **headers: str) -> Answer:
        """Send a request and keep the answer. Names of headers are written with underscores."""
        answer = self.ask(method, path, body, **headers)
        self.keep(f"{method} {path}{_told(body)}", answer)
        return answer

    def glance(self, path: str, **headers: str) -> Answer:
        """Send a request of which only status and headers are kept: its body is for people, or about this very run."""
        answer = self.ask("GET", path, None, **headers)
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        self.keep(f"GET {path}", Answer(answer.status, headers, b""))
        return answer

    def ask(self, method: str, path: str, body: Body = None, **headers: str) -> Answer:
        """Send a request and keep nothing."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        content, kind = _encoded(body)
        if kind:
            sent = {"Content-Type": kind, **sent}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS)
        try:
            connection.request(method, path, content, sent)
            got = connection.getresponse()
            return Answer(got.status, _joined(got.getheaders()), got.read())
        finally:
            connection.close()

    def stream(self, path: str, pieces: int, **headers: str) -> None:
        """Keep the first `pieces` chunks of an answer that has no end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            got = connection.getresponse()
            content = b"".join(_chunk(got) for _ in range(pieces))
            self.keep(f"GET {path}", Answer(got.status, _joined(got.getheaders()), content))
        finally:
            connection.close()

    def keep(self, request: str, answer: Answer) -> None:
        headers = {**answer.headers}
        kind = headers.get("content-type", "")
        content = answer.content
        # How well a body is compressed may change, and the text of an error, which HEAD only gives the length of; that
        # a length is given may not.
        error_of_head = request.startswith("HEAD ") and answer.status >= 400 and "content-length" in headers
        if error_of_head or (content and headers.get("content-length") == str(len(content))):
            headers["content-length"] = "the body's"
        body = described(content, "" if headers.get("content-encoding") == "gzip" else kind)
        self.masks.learn_from(body)
        if "etag" in headers:
            self.masks.learn("etag", headers["etag"].strip('"'))
        self.exchanges.append(Exchange(self.script, request, answer.status, headers, body))

    def wait(self, what: str, until: Callable[[], bool]) -> None:
        """Ask until something is so; that it never became so is kept as a difference."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if until():
                return
            time.sleep(0.1)
        self.keep(f"(waiting: {what})", Answer(0, {}, b""))

    def wait_for_labels(self) -> None:
        """Until every label is in the archive, or was refused by it."""
        self.wait("labels are delivered", lambda: self.ask("GET", "/readyz").get("outbox", "waiting") == 0)

    def wait_for_job(self, job: str) -> None:
        over = ("done", "failed", "stopped")
        self.wait("a job ends", lambda: self.ask("GET", f"/api/v1/jobs/{job}").get("state") in over)


def q(path: str, /, **query: object) -> str:
    """A path with a query."""
    return f"{path}?{urlencode(query, doseq=True)}"


def part(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _encoded(body: Body) -> tuple[bytes | None, str]:
    if isinstance(body, Json):
        return json.dumps(body.value).encode(), "application/json"
    if isinstance(body, Form):
        return body.encoded(), f"multipart/form-data; boundary={_BOUNDARY}"
    return body, ""


def _chunk(answer: http.client.HTTPResponse) -> bytes:
    """The next whole chunk (RFC 9112, section 7.1); `read1` may return a part of one."""
    size = int(answer.fp.readline(), 16)
    chunk = answer.fp.read(size)
    answer.fp.readline()
    return chunk


def _told(body: Body) -> str:
    """What of a body a report shows."""
    if isinstance(body, Json):
        return f" {json.dumps(body.value)[:300]}"
    if isinstance(body, Form):
        return f" {dict(body.fields)} {', '.join(f'{n}={f[0]}' for n, f in body.files.items())}"[:300]
    return "" if not body else f" ({len(body)} bytes)"


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
