"""A slash too many in an address changes nothing."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.web.gate import Gate
from app.web.paths import OneSlash

TOKEN = "s3cret-token"


@pytest.fixture
def visitor() -> TestClient:
    app = FastAPI()

    @app.get("/api/info")
    def info(request: Request) -> dict[str, str]:
        return {"path": request.url.path, "raw": request.scope["raw_path"].decode(), "query": request.url.query}

    @app.delete("/api/models/{name:path}")
    def unload(name: str) -> str:
        return name

    app.add_middleware(Gate, token=TOKEN, origins=frozenset())
    app.add_middleware(OneSlash)
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.mark.parametrize("path", ["/api/info", "//api/info", "/api//info", "///api////info"])
def test_several_slashes_are_one(visitor: TestClient, path: str) -> None:
    answer = visitor.get(f"http://127.0.0.1{path}?at=http://x//y", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.json() == {"path": "/api/info", "raw": "/api/info", "query": "at=http://x//y"}


def test_behind_the_token_in_the_path(visitor: TestClient) -> None:
    assert visitor.get(f"http://127.0.0.1/t/{TOKEN}//api/info").status_code == 200
    assert visitor.get(f"http://127.0.0.1//t//{TOKEN}//api/info").status_code == 200


@pytest.mark.parametrize("path", ["//api/info", "/t//api/info", "//t/wrong//api/info", "/livez//..//api/info"])
def test_opens_nothing(visitor: TestClient, path: str) -> None:
    assert visitor.get(f"http://127.0.0.1{path}").status_code == 401


def test_the_rest_of_the_path_is_kept(visitor: TestClient) -> None:
    answer = visitor.delete("http://127.0.0.1//api/models/a%20b", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.json() == "a b"
