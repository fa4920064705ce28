"""The API page: every call has a summary, and says what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI

from tests.dialects.monailabel.site import Site

CALLS = """
GET /server
GET /cases
GET /cases/{case_id}
GET /cases/{case_id}/geometry
GET /cases/{case_id}/scores
GET /cases/{case_id}/thumbnail
POST /next
POST /cases/{case_id}/release
POST /sessions
GET /sessions
GET /sessions/{session_id}
POST /sessions/{session_id}/prompts
POST /sessions/{session_id}/start
POST /sessions/{session_id}/undo
POST /sessions/{session_id}/redo
POST /sessions/{session_id}/reset
POST /sessions/{session_id}/say
GET /sessions/{session_id}/mask
DELETE /sessions/{session_id}
POST /sessions/{session_id}/edit
POST /sessions/{session_id}/flush
POST /sessions/{session_id}/label
GET /drafts
POST /cases/{case_id}/draft
POST /cases/{case_id}/segment
POST /exports
GET /exports/{export_id}
GET /exports/{export_id}/file
POST /cases/{case_id}/labels
GET /cases/{case_id}/labels
GET /labels/{label_id}/file
GET /labels/{label_id}/voxels
GET /labels
GET /jobs
POST /jobs
GET /jobs/{job_id}
DELETE /jobs/{job_id}
GET /jobs/{job_id}/log
GET /events
GET /models/{name}/versions
POST /models/{name}/serve
POST /models/{name}/rollback
GET /outbox
POST /outbox/retry
POST /outbox/{label_id}/retry
GET /quarantine
DELETE /quarantine/{path}
GET /device
"""


@pytest.fixture(scope="module")
def schema(site: Site) -> Any:
    return site.client.get("/openapi.json").json()


def operations(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        if path.startswith("/api/v1/"):
            for method, operation in methods.items():
                yield f"{method.upper()} {path.removeprefix('/api/v1')}", operation


def test_the_schema_is_one(schema: Any) -> None:
    assert OpenAPI.model_validate(schema).openapi.startswith("3.")


def test_every_call_is_listed_once(schema: Any) -> None:
    listed = [call for call, _ in operations(schema)]
    assert sorted(listed) == sorted(CALLS.split("\n")[1:-1])
    ids = [operation["operationId"] for _, operation in operations(schema)]
    assert len(set(ids)) == len(ids)


def test_every_call_says_what_it_does_and_answers(schema: Any) -> None:
    for call, operation in operations(schema):
        assert operation["summary"], call
        good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
        assert good, call
        for status, answer in good.items():
            if status != "204":
                shapes = [content["schema"] for content in answer["content"].values()]
                assert shapes, call
                assert all(shape for shape in shapes), call


def test_every_reference_leads_somewhere(schema: Any) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(schema):
        node = schema
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node
