"""The answer to a store request (PS3.18 10.5.3, annex I): what was stored and what was not, object by object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from app.dialects.dicomweb.accept import JSON
from app.services.dicomweb.incoming import Outcome

FAILED, STORED, RETRIEVE_URL = "00081198", "00081199", "00081190"
_CLASS, _UID, _REASON, _WARNING = "00081150", "00081155", "00081197", "00081196"


def answer(outcomes: Sequence[Outcome], root: str, study: str, others: Mapping[str, Any] | None = None) -> Response:
    """200 if everything is stored, 409 if nothing is, 202 in between. `others` is what the archive said of objects
    that were passed on to it."""
    failed = [*_items(others, FAILED), *(_item(one, root) for one in outcomes if one.reason)]
    stored = [*_items(others, STORED), *(_item(one, root) for one in outcomes if not one.reason)]
    content: dict[str, Any] = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        FAILED: _sequence(failed),
        STORED: _sequence(stored),
    }
    if study:
        content[RETRIEVE_URL] = {"vr": "UR", "Value": [f"{root}/studies/{study}"]}
    problems = dict.fromkeys(one.problem for one in outcomes if one.problem)
    headers = {"Warning": f'299 segloop "{_ascii("; ".join(problems))}"'} if problems else None
    status = 409 if failed and not stored else 202 if failed else 200
    if not failed and not stored:
        status = 400
    return JSONResponse(dict(sorted(content.items())), status, headers, JSON)


def _item(one: Outcome, root: str) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for tag, value in ((_CLASS, one.reference.sop_class), (_UID, one.reference.sop)):
        item[tag] = {"vr": "UI", "Value": [value]} if value else {"vr": "UI"}
    if one.location:
        item[RETRIEVE_URL] = {"vr": "UR", "Value": [f"{root}/{one.location}"]}
    if one.warning:
        item[_WARNING] = {"vr": "US", "Value": [one.warning]}
    if one.reason:
        item[_REASON] = {"vr": "US", "Value": [one.reason]}
    return item


def _items(others: Mapping[str, Any] | None, tag: str) -> list[Any]:
    element = (others or {}).get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _sequence(items: list[Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _ascii(text: str) -> str:
    return text[:2000].encode("ascii", "replace").decode().translate({ord('"'): "'", ord("\\"): "/", 10: " ", 13: " "})
