"""A DICOMweb service that misbehaves as told: in this process, on loopback, in plain Python."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset

from app.dicom.parsing import parse
from tests.dicom.synthetic import encode


@dataclass
class Answer:
    """An HTTP answer. `drip` sends the body in pieces of that many bytes, `pause` seconds apart; `cut` sends so many
    bytes of it and hangs up; `endless` sends it again and again, without a length. `slow_head` sends the headers like
    that, too. `sent` is how many pieces have been."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drip: int = 0
    pause: float = 0.0
    cut: int | None = None
    sent: int = 0
    chunked: bool = False
    endless: bool = False
    slow_head: bool = False


def multipart(
    files: Sequence[bytes],
    boundary: str = "a-b",
    *,
    quoted: bool = True,
    lengths: bool = True,
    preamble: bytes = b"",
    line_end: bytes = b"",
) -> Answer:
    """Files as multipart/related. `line_end` stands between a boundary and the end of its line."""
    pieces = [preamble + b"\r\n" if preamble else b""]
    for file in files:
        length = b"\r\nContent-Length: %d" % len(file) if lengths else b""
        pieces.append(b"--%s%s\r\nContent-Type: application/dicom%s\r\n\r\n" % (boundary.encode(), line_end, length))
        pieces.append(file + b"\r\n")
    pieces.append(b"--%s--%s\r\n" % (boundary.encode(), line_end))
    name = f'"{boundary}"' if quoted else boundary
    kind = f'multipart/related; type="application/dicom"; boundary={name}'
    return Answer(200, {"Content-Type": kind}, b"".join(pieces))


@dataclass(frozen=True)
class Request:
    verb: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeDicomweb:
    """Holds instances. `intercept` sees each request first and may answer instead; `requests` are those that came."""

    instances: list[Dataset] = field(default_factory=list)
    intercept: Callable[[Request], Answer | None] = lambda request: None
    multipart: Callable[[Sequence[bytes]], Answer] = multipart
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        given = self.intercept(request)
        if given is not None:
            return given
        parts = request.path.strip("/").split("/")
        if request.verb == "POST":
            return self._store(request)
        if parts == ["dicom-web", "series"]:
            return self._search(request)
        uids = parts[2::2]
        levels = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        found = [d for d in self.instances if all(d.get(k) == u for k, u in zip(levels, uids, strict=False))]
        if parts[0] != "dicom-web" or not found:
            return Answer(404)
        return self.multipart([encode(d) for d in found])

    def _search(self, request: Request) -> Answer:
        series: dict[str, Dataset] = {}
        for dataset in self.instances:
            series.setdefault(dataset.SeriesInstanceUID, dataset)
        wanted = request.query.get("Modality", [""])[0]
        found = []
        for dataset in series.values():
            if wanted in ("", dataset.Modality):
                entry = Dataset()
                for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID"):
                    setattr(entry, keyword, dataset.get(keyword))
                found.append(entry.to_json_dict())
        offset, limit = int(request.query.get("offset", ["0"])[0]), int(request.query.get("limit", ["1000"])[0])
        return json_answer(found[offset : offset + limit])

    def _store(self, request: Request) -> Answer:
        boundary = re.search(r'boundary="?([^";]+)', request.headers["content-type"])
        assert boundary
        part = request.body.split(b"--" + boundary[1].encode())[1]
        dataset = parse(part.partition(b"\r\n\r\n")[2][:-2])
        if all(d.SOPInstanceUID != dataset.SOPInstanceUID for d in self.instances):
            self.instances.append(dataset)
        return stored(dataset)


def stored(dataset: Dataset) -> Answer:
    """The answer to a STOW that says an instance is stored."""
    item = {"00081155": {"vr": "UI", "Value": [str(dataset.SOPInstanceUID)]}}
    answer = json_answer({"00081199": {"vr": "SQ", "Value": [item]}})
    answer.headers["Content-Type"] = "application/dicom+json; charset=utf-8"
    return answer


def json_answer(value: object) -> Answer:
    return Answer(200, {"Content-Type": "application/dicom+json"}, json.dumps(value).encode())


@contextmanager
def serving(fake: FakeDicomweb) -> Iterator[FakeDicomweb]:
    """Serve it; `url` is the root of DICOMweb."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, parts.path, parse_qs(parts.query), headers, self.rfile.read(length))
            answer = fake.answer(request)
            try:
                self._send(answer)
            except OSError:
                self.close_connection = True

        do_POST = do_GET

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.slow_head:
                self._drip_head(answer)
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif not answer.endless:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            body = answer.body if answer.cut is None else answer.body[: answer.cut]
            step = answer.drip or max(len(body), 1)
            for at in itertools.cycle(range(0, len(body), step)) if answer.endless else range(0, len(body), step):
                piece = body[at : at + step]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if answer.chunked else piece)
                answer.sent += 1
                time.sleep(answer.pause)
            if answer.cut is not None:
                self.close_connection = True
            elif answer.chunked:
                self.wfile.write(b"0\r\n\r\n")

        def _drip_head(self, answer: Answer) -> None:
            self.flush_headers()
            for number in range(90):
                for piece in (b"X-%d" % number, b": ", b"y", b"\r\n"):
                    self.wfile.write(piece)
                    answer.sent += 1
                    time.sleep(answer.pause)

        def log_message(self, *args: object) -> None:
            """Silence."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
