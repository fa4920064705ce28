"""The DICOMweb proxy (docs/protocols/monailabel.md, section 11), in front of an archive that says what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.archives.registry import open_archive
from app.project.project import archive_options
from app.settings import Settings
from tests.dialects.monailabel.site import Site, opened


class Archive(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "/frames/" in self.path:
            self.send_response(206)
            self.send_header("Content-Type", "multipart/related; boundary=x")
            self.send_header("Content-Range", "bytes 0-299999/300000")
            self.send_header("Set-Cookie", "archive=1")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(3):
                self.wfile.write(b"186a0\r\n" + bytes(100_000) + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        status = 401 if "locked" in self.path else 302 if "moved" in self.path else 200
        told = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body.decode()}
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_POST = do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    studies = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    settings = Settings(studies=studies, archive={"username": "segloop", "password": "pw"})
    archive = open_archive(archive_options(settings))
    with opened(tmp_path_factory.mktemp("site"), archive.dicomweb()) as one:
        yield one
    server.shutdown()


@pytest.mark.parametrize("prefix", ["", "wado/", "qido/", "stow/"])
def test_path_query_and_accept_go_on(site: Site, prefix):
    query = "limit=3&PatientName=A%20B*&includefield=00081030&includefield=all"
    headers = {"Accept": 'multipart/related; type="application/octet-stream"', "Range": "bytes=0-9", "Cookie": "a=b"}
    answer = site.client.get(f"/proxy/dicom/{prefix}studies/1.2/series?{query}", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    asked = answer.json()
    assert asked["path"] == f"/dicom-web/studies/1.2/series?{query}"
    sent = {name.lower(): value for name, value in asked["headers"].items()}
    assert (sent["accept"], sent["range"]) == (headers["Accept"], headers["Range"])
    assert "cookie" not in sent


def test_the_archives_credentials_replace_the_callers(site: Site):
    answer = site.client.get("/proxy/dicom/qido/studies", headers={"Authorization": "Bearer mine"})
    sent = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert sent["authorization"] == "Basic c2VnbG9vcDpwdw=="


def test_stow_goes_on_with_its_body(site: Site):
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    answer = site.client.post("/proxy/dicom/stow/studies", content=b"--b\r\n..." * 1000, headers=headers)
    asked = answer.json()
    assert (asked["method"], asked["path"], len(asked["body"])) == ("POST", "/dicom-web/studies", 8000)
    assert {k.lower(): v for k, v in asked["headers"].items()}["content-type"] == headers["Content-Type"]


def test_answers_are_passed_on_as_they_are(site: Site):
    answer = site.client.get("/proxy/dicom/wado/studies/1/series/2/instances/3/frames/1,2")
    assert (answer.status_code, len(answer.content)) == (206, 300_000)
    assert answer.headers["content-range"] == "bytes 0-299999/300000"
    assert "set-cookie" not in answer.headers
    assert site.client.head("/proxy/dicom/qido/studies").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("studies/..%2F..%2Fsystem", 400),
        ("patients", 404),
        ("..%2Ftools", 404),
        ("wado?requestType=WADO", 501),
        ("studies/locked", 503),
        ("studies/moved", 503),
    ],
)
def test_what_is_not_passed_on(site: Site, path, status):
    answer = site.client.get(f"/proxy/dicom/{path}", follow_redirects=False)
    assert answer.status_code == status
    assert "detail" in answer.json()


def test_an_archive_in_memory_has_no_dicomweb(tmp_path):
    with opened(tmp_path / "workspace", studies=str(tmp_path)) as one:
        answer = one.client.get("/proxy/dicom/qido/studies")
        assert answer.status_code == 501
        assert "folder" in answer.json()["detail"]
