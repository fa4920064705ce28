"""A connection is known to be closed once the client closed it, never before, and not by being answered."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from app.core.connection import Connection, current_connection
from app.http.connections import Connections
from tests.live import listening


class Body(BaseModel):
    text: str = ""


class Site:
    """Endpoints of every sort that watch their connection, and answer when the test lets them."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go = threading.Event()
        self.seen: list[Connection] = []
        self.port = 0

    def work(self, text: str = "") -> str:
        connection = current_connection.get()
        connection.watch()
        self.seen.append(connection)
        self.inside.set()
        assert self.go.wait(60)
        return text

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_middleware(Connections)

        @app.get("/get")
        def get() -> str:
            return self.work()

        @app.post("/json")
        def json(body: Body) -> str:
            return self.work(body.text)

        @app.post("/body")
        async def body(request: Request) -> str:
            content = await request.body()
            return await run_in_threadpool(self.work, content.decode())

        return app


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    site = Site()
    with listening(site.app()) as port:
        site.port = port
        yield site


@pytest.fixture
def site(server: Site) -> Site:
    server.inside.clear()
    server.go.clear()
    server.seen.clear()
    return server


REQUESTS = pytest.mark.parametrize(
    ("method", "path", "body"), [("GET", "/get", ""), ("POST", "/json", '{"text": "x"}'), ("POST", "/body", "x")]
)


@REQUESTS
def test_a_client_that_goes_is_noticed(site: Site, method: str, path: str, body: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with closing(socket.create_connection(("127.0.0.1", site.port))) as client:
        client.sendall(f"{head}\r\n\r\n{body}".encode())
        assert site.inside.wait(60)
        assert not site.seen[0].closed
    for _ in range(6000):
        if site.seen[0].closed:
            break
        threading.Event().wait(0.01)
    assert site.seen[0].closed
    site.go.set()


@REQUESTS
def test_one_that_stays_is_answered_and_asks_again_on_the_same_connection(
    site: Site, method: str, path: str, body: str
) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", site.port)) as client:
        site.go.set()
        for _ in range(3):
            client.request(method, path, body or None, {"Content-Type": "application/json"})
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b'"x"' if body else b'""')
    assert len(site.seen) == 3
    assert not any(connection.closed for connection in site.seen)


def test_work_that_no_request_waits_for_has_no_connection_to_lose() -> None:
    connection = current_connection.get()
    connection.watch()
    assert not connection.closed


def test_a_server_that_stops_ends_what_it_has_waited_for_long_enough() -> None:
    """Whatever a client does: clicks in the queue of the device would hold the process up, one after the other."""
    site = Site()
    left: list[bool] = []

    def work(text: str = "") -> str:
        connection = current_connection.get()
        connection.watch()
        site.inside.set()
        left.append(_becomes_closed(connection))
        site.go.set()
        return text

    site.work = work  # type: ignore[method-assign]
    with closing(socket.socket()) as client, listening(site.app(), log_level="critical", grace=1) as port:
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /get HTTP/1.1\r\nHost: x\r\n\r\n")
        assert site.inside.wait(60)
    assert site.go.wait(60)
    assert left == [True]


def _becomes_closed(connection: Connection) -> bool:
    for _ in range(6000):
        if connection.closed:
            return True
        threading.Event().wait(0.01)
    return False
