"""Requests that are too large: in headers, in JSON, in numbers, in parts of a form. Each is the client's error, in the
form that its protocol has for errors, and takes no memory."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli.serve import OneLine
from app.web.zero_copy import MOST_HEAD_BYTES
from tests.live import FAKE, Live, serving

HUGE = 2**63
DIGITS = "9" * 5000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("limits"), FAKE) as running:
        yield running


@pytest.fixture
def client(live: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, trust_env=False, timeout=60) as client:
        yield client


def exchange(live: Live, pieces: Iterator[bytes], most: int) -> tuple[bytes, int]:
    """The beginning of the answer to a request that is sent piece by piece, and how many bytes were sent before it."""
    host, port = live.url.removeprefix("http://").split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
                assert sent < most, "it takes everything"
        except ConnectionError:
            pass
        try:
            return connection.recv(4096), sent
        except ConnectionError:
            return b"", sent


def lines() -> Iterator[bytes]:
    yield b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for number in range(10_000_000):
        yield b"X-%d: %s\r\n" % (number, b"y" * 4000)


def one_line() -> Iterator[bytes]:
    yield b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
    while True:
        yield b"y" * 65536


def address() -> Iterator[bytes]:
    yield b"GET /livez?"
    while True:
        yield b"y" * 65536


@pytest.mark.parametrize("head", [lines, one_line, address])
def test_headers_without_an_end(live: Live, head: Iterator[bytes]) -> None:
    answer, _ = exchange(live, head(), 64 << 20)  # type: ignore[operator]
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_many_headers_at_once(live: Live) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: yyyyyyyy\r\n" * (MOST_HEAD_BYTES // 8) + b"\r\n"
    answer, _ = exchange(live, iter([head]), 64 << 20)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_headers_within_the_limit_one_request_after_the_other(client: httpx.Client) -> None:
    for _ in range(3):
        assert client.get("/livez", headers={"X": "y" * (MOST_HEAD_BYTES // 2)}).status_code == 200
        assert client.post("/train/", content=b"{}" + b" " * (1 << 20), headers={"Content-Type": "text/x"}).is_error


BODIES = {
    "long": b'{"a": "' + b"x" * (9 << 20) + b'"}',
    "many values": b'{"a": [' + b"0," * 1_000_001 + b"0]}",
    "deep": b"[" * 200_000,
    "digits": b'{"a": ' + DIGITS.encode() + b"}",
}
JSON_ROUTES = ["/train/", "/activelearning/random", "/add_point_interaction", "/api/v1/cases/next", "/api/load_model"]


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize("kind", BODIES)
def test_json_bodies(client: httpx.Client, path: str, kind: str) -> None:
    answer = client.post(path, content=BODIES[kind], headers={"Content-Type": "application/json"})
    refused = answer.status_code in range(400, 500) or answer.json().get("status") == "error"
    assert refused or kind in ("long", "digits"), answer.text[:200]
    assert answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/json")
    if answer.is_error:
        assert {"detail", "error"} & answer.json().keys()


def test_json_in_a_form(client: httpx.Client) -> None:
    fields = {"params": "{" + "," * 1_000_001 + "}"}
    answer = client.post("/infer/clicks", files={"file": b""}, data=fields, params={"image": "none"})
    assert answer.status_code == 400
    assert "more than 1000000 values" in answer.json()["detail"]


def test_a_form_of_many_parts(client: httpx.Client) -> None:
    part = b"--B\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = client.post("/infer/clicks", content=part * 10_001 + b"--B--\r\n", headers=kind, params={"image": "none"})
    assert answer.status_code == 400
    assert "parts" in answer.json()["detail"]


@pytest.mark.parametrize(
    "asked",
    [
        ("GET", f"/api/v1/cases?offset={HUGE}"),
        ("GET", f"/api/v1/cases?offset={DIGITS[:4000]}"),
        ("GET", f"/api/v1/labels/{HUGE}/file"),
        ("GET", f"/api/v1/labels/{10**30}"),
        ("POST", f"/api/v1/outbox/{HUGE}/retry"),
    ],
    ids=lambda asked: f"{asked[0]} {asked[1][:40]}",
)
def test_integers_beyond_64_bits(client: httpx.Client, asked: tuple[str, str]) -> None:
    answer = client.request(*asked)
    assert answer.status_code in (400, 404, 422)
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("number", [HUGE, -HUGE - 1, 10**30, 10**400], ids=["2^63", "-2^63-1", "10^30", "10^400"])
def test_integers_in_json(client: httpx.Client, live: Live, number: int) -> None:
    opened = client.post("/api/v1/sessions", json={"case": "none", "seed": number})
    assert 400 <= opened.status_code < 500
    point = json.dumps({"voxel_coord": [number, 0, 0], "positive_click": True, "include_interaction": True})
    for path in ("/add_point_interaction", "/activelearning/random", "/train/"):
        answer = client.post(path, content=point, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (path, answer.text)


def test_a_websocket_is_refused(live: Live) -> None:
    head = (
        b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    answer, _ = exchange(live, iter([head]), 1 << 20)
    assert int(answer.split()[1]) < 500


def test_the_connection_outlives_an_unexpected_error(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **named: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(type(live.services.cases), "page", fail)
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rb") as stream:
        for path, status in ((b"/api/v1/cases", b"500"), (b"/livez", b"200")):
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path)
            assert stream.readline().split()[1] == status
            length = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            stream.read(length)


def test_a_message_in_the_log_is_one_line(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log", encoding="utf-8")
    handler.setFormatter(OneLine("%(levelname)s %(message)s"))
    logger = logging.getLogger("tests.one_line")
    logger.addHandler(handler)
    try:
        raise ValueError("a\0b")
    except ValueError:
        logger.exception("GET /a\0\r\n2026 INFO forged\x1b[2J\u2028")
    finally:
        logger.removeHandler(handler)
        handler.close()
    first, *trace = (tmp_path / "log").read_bytes().split(b"\n")
    assert first == rb"ERROR GET /a\x00\x0d\x0a2026 INFO forged\x1b[2J\u2028"
    assert trace[0].startswith(b"Traceback")
    assert trace[-2] == rb"ValueError: a\x00b"
