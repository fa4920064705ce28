"""Answers of an archive end: in bytes, in seconds, and when the server stops. What counts is how much the archive could
send before it was hung up on."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.archives.dicomweb import DicomwebArchive
from app.core.archive import Delivery, DicomwebUpstream
from app.core.progress import ignore_progress
from app.errors import ArchiveUnavailable
from app.services import Services
from app.services.dicomweb.proxy import DicomwebProxy
from app.settings import Settings
from tests.archives.fake_dicomweb import Answer, FakeDicomweb, Request, json_answer, multipart
from tests.archives.test_dicomweb import Connect, connect, entries, fake, label, series

__all__ = ["connect", "fake", "label", "series"]

LIMIT = 1 << 20
PIECE = b" " * (1 << 16)
MOST_PIECES = 20 * LIMIT // len(PIECE)
"""The limit, and what the sockets of both sides hold."""
JSON = {"Content-Type": "application/dicom+json"}
SMALL = {"max_answer_bytes": LIMIT, "max_bytes": LIMIT, "max_retries": 0}
QUICK = {"answer_seconds": 0.5, "fetch_seconds": 0.5, "slowest_rate": 1e6, "max_retries": 0}

Ask = Callable[[DicomwebArchive, Delivery], object]

ASKS: dict[str, tuple[str, str, Ask]] = {
    "a page of a search": ("GET", "/series", lambda archive, label: archive.list(None)),
    "the result of storing": ("POST", "/studies", lambda archive, label: archive.store(label)),
    "a label read back": ("GET", "/instances/", lambda archive, label: archive.store(label)),
    "a series": ("GET", "/studies/", lambda archive, label: archive.fetch(label.case, ignore_progress)),
    "an Orthanc": ("GET", "/changes", lambda archive, label: archive.list(None)),
}


def answering(fake: FakeDicomweb, ask: str, answer: Answer) -> None:
    verb, path, _ = ASKS[ask]
    if path in ("/instances/", "/studies/"):
        answer.headers = dict(multipart([b""]).headers)

    def intercept(request: Request) -> Answer | None:
        if request.path.endswith("/system"):
            return json_answer({"ApiVersion": 25, "DatabaseVersion": 6})
        return answer if request.verb == verb and path in request.path else None

    fake.intercept = intercept


def options(fake: FakeDicomweb, ask: str) -> dict[str, object]:
    return {"orthanc_url": fake.url.rpartition("/")[0]} if ask == "an Orthanc" else {}


@pytest.mark.parametrize("ask", ASKS)
def test_an_answer_without_an_end_is_cut_off(fake: FakeDicomweb, connect: Connect, label: Delivery, ask: str) -> None:
    answer = Answer(200, dict(JSON), PIECE, endless=True)
    answering(fake, ask, answer)
    with pytest.raises(ArchiveUnavailable):
        ASKS[ask][2](connect(**SMALL, **options(fake, ask)), label)
    assert answer.sent < MOST_PIECES


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("slow_head", [False, True])
def test_an_answer_by_the_byte_is_cut_off(
    fake: FakeDicomweb, connect: Connect, label: Delivery, ask: str, slow_head: bool
) -> None:
    answer = Answer(200, dict(JSON), PIECE, drip=1, pause=0.05, slow_head=slow_head)
    answering(fake, ask, answer)
    with pytest.raises(ArchiveUnavailable):
        ASKS[ask][2](connect(**QUICK, **options(fake, ask)), label)
    assert answer.sent < 60  # ten in the time that is given


def test_parts_without_an_end_are_cut_off(fake: FakeDicomweb, connect: Connect, label: Delivery) -> None:
    part = multipart([PIECE], lengths=False)
    part.endless, part.body = True, part.body.removesuffix(b"--a-b--\r\n")
    fake.intercept = lambda request: part if request.verb == "GET" else None
    with pytest.raises(ArchiveUnavailable):
        connect(**SMALL).store(label)
    assert part.sent < MOST_PIECES


def test_a_compressed_answer_is_inflated_no_further_than_allowed(
    fake: FakeDicomweb, connect: Connect, label: Delivery
) -> None:
    bomb = gzip.compress(bytes(64 * LIMIT))
    fake.intercept = lambda request: Answer(200, {**JSON, "Content-Encoding": "gzip"}, bomb)
    with pytest.raises(ArchiveUnavailable, match="answers with more than 1 MB"):
        connect(**SMALL).list(None)
    fake.intercept = lambda request: Answer(200, {**JSON, "Content-Encoding": "gzip, gzip"}, gzip.compress(bomb))
    with pytest.raises(ArchiveUnavailable, match="compresses"):
        connect(**SMALL).list(None)


def test_pages_without_an_end(fake: FakeDicomweb, connect: Connect) -> None:
    def page(request: Request) -> Answer | None:
        offset, limit = int(request.query["offset"][0]), int(request.query["limit"][0])
        return json_answer(entries(*range(offset, offset + limit)))

    fake.intercept = page
    with pytest.raises(ArchiveUnavailable, match="more than 50 series"):
        connect(page_size=10, max_series=50).list(None)
    assert len(fake.requests) == 6


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"[{}]", b'{"Last": [], "CountInstances": {}}', b"null", b'"x"', b"7"]
)
def test_json_of_another_form(fake: FakeDicomweb, connect: Connect, label: Delivery, body: bytes) -> None:
    def orthanc(request: Request) -> Answer | None:
        if request.path.endswith("/system"):
            return json_answer({"ApiVersion": 25, "DatabaseVersion": 6})
        return None if request.path.startswith("/dicom-web/") else Answer(200, dict(JSON), body)

    fake.intercept = orthanc
    with pytest.raises(ArchiveUnavailable):
        connect(orthanc_url=fake.url.rpartition("/")[0]).list(None)
    fake.intercept = lambda request: Answer(200, dict(JSON), body) if request.verb == "POST" else None
    with pytest.raises(ArchiveUnavailable):
        connect().store(label)


def test_an_orthanc_is_listed_page_by_page(
    fake: FakeDicomweb, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.archives.dicomweb.orthanc.SERIES_A_CALL", 3)
    held = [
        {"ID": str(n), "ParentStudy": "s", "MainDicomTags": {"SeriesInstanceUID": f"1.{n}", "Modality": "CT"}}
        for n in range(8)
    ]
    study = {"ID": "s", "MainDicomTags": {"StudyInstanceUID": "1.2"}}

    def orthanc(request: Request) -> Answer | None:
        match request.path:
            case "/tools/find":
                asked = json.loads(request.body)
                return json_answer(held[asked["Since"] : asked["Since"] + asked["Limit"]])
            case "/tools/bulk-content":
                return json_answer([study])
            case "/system":
                return json_answer({"ApiVersion": 25, "DatabaseVersion": 6})
            case _:
                return json_answer({"Last": 1, "CountInstances": 8})

    fake.intercept = orthanc
    listing = connect(orthanc_url=fake.url.rpartition("/")[0]).list(None)
    assert sorted(case.id for case in listing.cases) == [f"1.{n}" for n in range(8)]


def test_a_server_stops_while_its_archive_drips(fake: FakeDicomweb, tmp_path: Path) -> None:
    asked = threading.Event()

    def drip(request: Request) -> Answer:
        asked.set()
        return Answer(200, dict(JSON), PIECE, drip=1, pause=0.2)

    fake.intercept = drip
    settings = Settings(studies=fake.url, workspace=tmp_path, models={})
    services = Services.open(settings)
    services.start()
    assert asked.wait(30)
    stopping = threading.Thread(target=services.stop, daemon=True)
    stopping.start()
    stopping.join(15)  # the answer would be given up after 20 s
    assert not stopping.is_alive()
    assert "shutting down" in services.sync.problem


@pytest.mark.parametrize("slow_head", [False, True])
def test_an_answer_that_is_passed_on_to_a_viewer_ends(fake: FakeDicomweb, slow_head: bool) -> None:
    answer = Answer(200, dict(JSON), PIECE, drip=1, pause=0.05, slow_head=slow_head)
    fake.intercept = lambda request: answer

    async def read() -> None:
        proxy = DicomwebProxy(DicomwebUpstream(fake.url, total_seconds=0.5))
        passed = await proxy.forward("GET", "studies", "", {}, None, "http://here/dicom-web")
        async for _ in passed.chunks:
            pass

    with pytest.raises(ArchiveUnavailable):
        asyncio.run(read())
    assert answer.sent < 60
