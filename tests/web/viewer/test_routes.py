"""What `/ohif/` serves: to whom, as which type, and under which base."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.archives.memory import MemoryArchive
from app.main import create_app
from app.settings import ModelSettings, Settings
from app.web.viewer import install as installing
from app.web.viewer import routes
from app.web.viewer.install import Relocation
from tests.web.viewer.tarballs import release_of, tarball

SCRIPT = "app.bundle.0123456789abcdef.js"


@pytest.fixture
def viewer_dir(tmp_path: Path) -> Path:
    return tmp_path / "viewer"


@pytest.fixture
def client(tmp_path: Path, viewer_dir: Path) -> Iterator[TestClient]:
    values = {"models": {"clicks": ModelSettings(type="fake")}, "device": "cpu", "viewer_dir": viewer_dir}
    app = create_app(
        Settings(workspace=tmp_path / "workspace", name="<Lab>", **values), MemoryArchive(), token="s3cret"
    )
    with TestClient(app, base_url="http://127.0.0.1/t/s3cret/") as client:
        yield client


@pytest.fixture
def with_viewer(client: TestClient, tmp_path: Path, viewer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A viewer that is installed while the server runs."""
    assert client.get("ohif/").status_code == 503
    file = tarball(tmp_path / "a.tgz")
    rewrites = [rewrite for rewrite in Relocation()._rewrites if rewrite.files == r"index\.html"]
    counted = Relocation(rewrites)
    monkeypatch.setattr(counted, "finish", lambda: None)
    made = installing.install(file, viewer_dir, release_of(file), counted)
    assert made.files == 5
    return client


def test_without_a_viewer_the_page_says_how_to_get_one(client: TestClient) -> None:
    answer = client.get("ohif/viewer")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert "segloop viewer install" in answer.text
    assert "npm pack @ohif/app@3.13.2" in answer.text
    assert "&lt;Lab&gt;" in answer.text
    assert 'href="/t/s3cret/"' in answer.text


def test_page_and_configuration_keep_the_way_in(with_viewer: TestClient) -> None:
    for path in ("ohif/", "ohif/index.html", "ohif/segloop"):
        answer = with_viewer.get(path)
        assert answer.status_code == 200
        assert 'window.PUBLIC_URL="/t/s3cret/ohif/"' in answer.text
        assert f'src="/t/s3cret/ohif/{SCRIPT}"' in answer.text
        (nonce,) = set(re.findall(r'<script nonce="([^"]+)">', answer.text))
        policy = answer.headers["content-security-policy"]
        assert f"'nonce-{nonce}'" in policy
        assert "default-src 'self'" in policy
        assert "http" not in policy
    assert with_viewer.get("ohif/").headers["content-security-policy"] != policy, "a nonce is used once"

    script = with_viewer.get("u/Ann%20O'Hara/ohif/app-config.js")
    assert script.headers["content-type"].startswith("text/javascript")
    config = json.loads(script.text.removeprefix("window.config = ").rstrip(";\n"))
    base = "/t/s3cret/u/Ann%20O%27Hara"
    assert config["routerBasename"] == f"{base}/ohif/"
    assert config["modes"] == [f"{base}/ohif/plugin/mode.js"]
    (source,) = config["dataSources"]
    assert source["configuration"]["qidoRoot"] == f"{base}/dicom-web"
    assert "http" not in script.text


def test_files_have_their_types_and_are_compressed_for_who_takes_it(with_viewer: TestClient) -> None:
    answer = with_viewer.get(f"ohif/{SCRIPT}")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.text.startswith("__webpack_require__")
    plain = with_viewer.get(f"ohif/{SCRIPT}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text
    assert plain.headers["etag"] != answer.headers["etag"]
    same = with_viewer.get(f"ohif/{SCRIPT}", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert with_viewer.get("ohif/codec.wasm").headers["content-type"] == "application/wasm"
    assert with_viewer.get("ohif/assets/logo.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("name", ["gone.js", "assets/gone.png", "..%2f..%2fa.tgz", "segloop.json.gz", "plugin/gone.js"])
def test_a_file_that_is_not_there_is_no_page(with_viewer: TestClient, name: str) -> None:
    answer = with_viewer.get(f"ohif/{name}")
    assert answer.status_code == 404
    assert "html" not in answer.headers["content-type"]


def test_our_modules_are_served_with_or_without_a_viewer(client: TestClient) -> None:
    for name in ("extension.js", "mode.js", "ohif_adapter.js"):
        answer = client.get(f"ohif/plugin/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.headers["cache-control"] == "private, no-cache"
    assert len(routes._PLUGIN.by_name) >= 10


def test_nobody_gets_in_without_the_token(client: TestClient) -> None:
    for path in (
        "http://127.0.0.1/ohif/",
        "http://127.0.0.1/ohif/plugin/mode.js",
        "http://127.0.0.1/ohif/app-config.js",
    ):
        assert client.get(path).status_code == 401
