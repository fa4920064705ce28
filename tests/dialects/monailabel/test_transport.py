"""The transport rules of docs/protocols/monailabel.md, section 1, and the routes that are only there to be polite."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from app.core.volume import Geometry, Volume
from tests.dialects.monailabel.site import Site, opened

READABLE = ["/info", "/datastore", "/logs", "/logs/gpu", "/session/nowhere"]


class TestSlashes:
    @pytest.mark.parametrize("path", READABLE)
    def test_both_forms_answer_without_a_redirect(self, site: Site, path):
        for form in (path, f"{path}/"):
            assert site.client.get(form, follow_redirects=False).status_code == 200

    def test_of_every_route(self, site: Site):
        paths = set()
        for route in site.client.app.openapi()["paths"]:
            paths.add(route)
        ours = [p for p in paths if p.split("/")[1] in {"infer", "train", "datastore", "session", "scoring", "model"}]
        assert len(ours) > 12
        for path, slash in itertools.product(ours, ("", "/")):
            url = path.rstrip("/").replace("{", "").replace("}", "") + slash
            answer = site.client.request("OPTIONS", url, follow_redirects=False)
            assert answer.status_code == 405, url  # the path is known, whatever the method


@pytest.mark.parametrize("token", ["", "x", "a+b"])
def test_unknown_query_keys_are_ignored(site: Site, token):
    assert site.client.get("/info/", params={"token": token}).status_code == 200


def test_a_get_that_claims_a_body_is_answered(site: Site):
    """The Python client keeps the content headers of its last POST (docs/protocols/monailabel.md, section 1.6)."""
    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "5000"}
    assert site.client.get("/info/", headers=headers).status_code == 200


def test_a_plus_in_a_models_name_travels_as_percent_2b(site: Site):
    answer = site.client.post("/infer/Histogram%2BGraphCut", params={"image": "case 07"})
    assert "label" in answer.json()["detail"]


def test_errors_are_json_with_a_detail(site: Site):
    for method, path in (("GET", "/datastore/image?image=x"), ("POST", "/infer/x?image=y"), ("GET", "/model/clicks")):
        answer = site.client.request(method, path)
        assert answer.status_code >= 400
        assert isinstance(answer.json()["detail"], str)


def test_there_is_no_login_and_it_is_said_in_json(site: Site):
    answer = site.client.get("/auth/")
    assert (answer.status_code, "detail" in answer.json()) == (404, True)
    assert site.client.post("/auth/token", data={"username": "a", "password": "b"}).status_code == 404
    assert site.client.get("/auth/token/valid").status_code == 404


@pytest.mark.parametrize("path", ["/infer/wsi/clicks", "/infer/wsi_v2/clicks"])
def test_whole_slides_are_refused_with_a_reason(site: Site, path):
    answer = site.client.post(path, json={"level": 0})
    assert answer.status_code == 501
    assert "whole-slide" in answer.json()["detail"]


def test_reload_looks_for_new_images(site: Site):
    site.archive.add_volume("new", Volume(np.zeros((3, 3, 3), np.int16), Geometry((3, 3, 3), np.eye(4))))
    assert site.client.post("/reload").json() == {}
    assert site.client.head("/datastore/image?image=new").status_code == 200


def test_the_log(site: Site):
    site.services.logs.file.write_text("one\n<b>two</b>\nthree\n")
    assert site.client.get("/logs/?lines=2&text=true").text == "<b>two</b>\nthree\n"
    assert site.client.get("/logs/?lines=0&html=false").text.startswith("one")
    page = site.client.get("/logs/?lines=2&refresh=5").text
    assert "&lt;b&gt;two" in page
    assert 'content="5"' in page
    assert "http" not in page.replace("http-equiv", "")


class TestWithAToken:
    @pytest.fixture
    def guarded(self, tmp_path):
        with opened(tmp_path / "workspace", token="s3cret") as one:
            yield one.client

    def test_login_as_slicer_does(self, guarded):
        assert guarded.get("/auth/").json()["enabled"] is True
        assert guarded.get("/info/").status_code == 401
        form = {"username": "anna", "password": "s3cret", "grant_type": "password"}
        token = guarded.post("/auth/token", data=form).json()
        headers = {"Authorization": f"{token['token_type']} {token['access_token']}"}
        assert guarded.get("/auth/token/valid", headers=headers).status_code == 200
        assert guarded.get("/info/", headers=headers).status_code == 200

    def test_in_the_path_there_is_nothing_to_log_in_to(self, guarded):
        assert guarded.get("/t/s3cret/auth/").status_code == 404
        assert guarded.get("/t/s3cret/info/").status_code == 200
