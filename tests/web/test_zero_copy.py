"""Files sent by the server itself: the bytes that were meant, to the client that asked, whatever the client does."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.responses import FileResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.web.zero_copy import PATH, STRETCH, HeadLimitedProtocol, ZeroCopyProtocol, protocol
from tests.live import listening

pytestmark = pytest.mark.skipif(not hasattr(os, "sendfile"), reason="this system has no sendfile")

SIZE = 24 << 20


class Files:
    """`/<name>/<start>/<count>` is so much of a file between two words; `/whole/<name>` a file; `/text` no file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        assert {STRETCH, PATH} <= set(scope["extensions"])
        name, *rest = scope["path"].strip("/").split("/")
        if name == "whole":
            await FileResponse(self.folder / rest[0])(scope, receive, send)
        elif name == "text":
            await PlainTextResponse("no file")(scope, receive, send)
        else:
            await self._between(name, int(rest[0]), int(rest[1]), send)

    async def _between(self, name: str, start: int, count: int, send: Send) -> None:
        head = [(b"content-length", str(count + 12).encode())]
        with (self.folder / name).open("rb") as file:
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": b"before", "more_body": True})
            # In two parts, as a file with a gap in it would be.
            half = count // 2
            await send({"type": STRETCH, "file": file, "offset": start, "count": half, "more_body": True})
            await send(
                {"type": STRETCH, "file": file, "offset": start + half, "count": count - half, "more_body": True}
            )
            await send({"type": "http.response.body", "body": b"behind"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files")
    for name in "ab":
        (path / name).write_bytes(random.Random(name).randbytes(SIZE))
    return path


@pytest.fixture
def port(folder: Path) -> Iterator[int]:
    with listening(Files(folder), log_level="critical") as port:
        yield port


def test_this_system_uses_it() -> None:
    assert protocol() is ZeroCopyProtocol


@pytest.mark.parametrize(("start", "count"), [(0, SIZE), (1, 2), (1_000_001, 524_288), (SIZE - 5, 5), (7, 0)])
def test_a_stretch_between_other_bytes(port: int, folder: Path, start: int, count: int) -> None:
    got = requests.get(f"http://127.0.0.1:{port}/a/{start}/{count}", timeout=30).content
    assert got == b"before" + (folder / "a").read_bytes()[start : start + count] + b"behind"


def test_a_whole_file_and_a_part_of_it(port: int, folder: Path) -> None:
    url, content = f"http://127.0.0.1:{port}/whole/b", (folder / "b").read_bytes()
    with requests.Session() as session:
        assert session.get(url, timeout=30).content == content
        assert session.get(url, headers={"Range": "bytes=100-199"}, timeout=30).content == content[100:200]
        head = session.head(url, timeout=30)
        assert (head.headers["content-length"], head.content) == (str(SIZE), b"")
        assert session.get(f"http://127.0.0.1:{port}/text", timeout=30).text == "no file"


def test_requests_behind_one_another(port: int, folder: Path) -> None:
    """Sent all at once, answered in their order, as one stream of bytes."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        asked = [f"GET /{name}/{start}/400000 HTTP/1.1\r\nHost: x\r\n\r\n" for name in "ab" for start in (3, 777_777)]
        client.sendall("".join(asked).encode())
        client.settimeout(20)
        bodies = [_answer(client) for _ in asked]
    contents = {name: (folder / name).read_bytes() for name in "ab"}
    for body, (name, start) in zip(bodies, [(n, s) for n in "ab" for s in (3, 777_777)], strict=True):
        assert body == b"before" + contents[name][start : start + 400_000] + b"behind"


def test_a_client_that_takes_its_time(port: int, folder: Path) -> None:
    """It gets everything, others don't wait for it, and waiting for it takes no thread."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        slow.connect(("127.0.0.1", port))
        slow.settimeout(20)
        slow.sendall(f"GET /a/0/{SIZE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        # More of them than the pool has threads.
        others = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for other in others:
            other.sendall(f"GET /a/0/{SIZE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(0.3)
        assert len(requests.get(f"http://127.0.0.1:{port}/whole/b", timeout=20).content) == SIZE
        for other in others:
            other.close()
        assert _answer(slow) == b"before" + (folder / "a").read_bytes() + b"behind"


def test_clients_that_go_away(port: int, folder: Path) -> None:
    """No descriptor stays open, and nobody gets what was meant for another."""
    contents = {name: (folder / name).read_bytes() for name in "ab"}
    before = _descriptors()

    def ask(number: int) -> None:
        chosen = random.Random(number)
        name, start = chosen.choice("ab"), chosen.randrange(SIZE // 2)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(20)
            client.sendall(f"GET /{name}/{start}/{SIZE // 2} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if chosen.random() < 0.7:
                client.recv(chosen.randrange(1, 300_000))
                return
            assert _answer(client) == b"before" + contents[name][start : start + SIZE // 2] + b"behind"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(80)))
    for _ in range(100):
        if _descriptors() <= before:
            break
        time.sleep(0.05)
    assert _descriptors() <= before


def test_a_file_that_became_shorter(port: int, folder: Path) -> None:
    """The connection ends, so that the client knows that the answer is not whole."""
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"http://127.0.0.1:{port}/a/{SIZE - 10}/20", timeout=20)
    assert requests.get(f"http://127.0.0.1:{port}/text", timeout=20).text == "no file"


def _answer(client: socket.socket) -> bytes:
    """The body of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body = bytearray()
    while len(body) < int(length.split(b":")[1]):
        body += client.recv(min(1 << 16, int(length.split(b":")[1]) - len(body)))
    return bytes(body)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_uvicorn_that_changed_sends_through_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert protocol() is ZeroCopyProtocol
    assert protocol(wanted=False) is HeadLimitedProtocol
    with monkeypatch.context() as patch:
        patch.setattr(HttpToolsProtocol, "_start_asgi_task", lambda self, cycle, app, more: None)
        assert protocol() is HeadLimitedProtocol
    with monkeypatch.context() as patch:
        patch.delattr(HttpToolsProtocol, "_start_asgi_task")  # up to 0.45
        assert protocol() is HeadLimitedProtocol
    with monkeypatch.context() as patch:
        patch.setattr(RequestResponseCycle, "__init__", lambda self: None)
        assert protocol() is HeadLimitedProtocol
