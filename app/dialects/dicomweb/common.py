"""Common parts of all resources: routes and URLs, UID validation, the caller, and conditional and range requests
(RFC 9110 8.8, 13.1, 14)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from app.dicom.values import check_uid
from app.http.identity import identity, user_of

ROOT = "dicom-web"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

STUDY = f"/{ROOT}/studies/{{study}}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{sop}}"


def get(router: APIRouter, path: str) -> Callable[[Endpoint], Endpoint]:
    def register(endpoint: Endpoint) -> Endpoint:
        router.add_api_route(path, endpoint, methods=["GET"], response_model=None)
        router.add_api_route(path, endpoint, methods=["HEAD"], response_model=None, include_in_schema=False)
        return endpoint

    return register


def uids(*values: str) -> tuple[str, ...]:
    """The same values, validated; "" is allowed. Raises `BadInput` for one that is no UID."""
    return tuple(value and check_uid(value) for value in values)


def service_root(request: Request) -> str:
    """The service's URL without a trailing slash, including the path prefix of the request."""
    base = request.base_url
    server = request.scope.get("server")
    # dicomweb-client sends a Host without the port; if the name is this socket's address, its port is added.
    if base.port is None and server and base.hostname == server[0] and server[1] not in (None, 80, 443):
        base = base.replace(port=server[1])
    return f"{str(base).rstrip('/')}/{ROOT}"


def person(request: Request) -> str:
    """The user name of the request, else the client's host: DICOMweb has no user name of its own."""
    return identity(request, user_of(request))


def client(request: Request) -> str:
    """The client program: OHIF if its page sent the request, else the name in User-Agent."""
    if "/ohif" in request.headers.get("referer", "").lower():
        return "OHIF"
    agent = request.headers.get("user-agent", "")
    browser = agent.startswith("Mozilla/")
    return "OHIF" if browser else (agent.split()[0][:64] if agent.split() else "DICOMweb")


def tagged(stamp: str) -> dict[str, str]:
    """Cache headers of a response that changes with `stamp`. It is revalidated each time: files may be replaced."""
    return {"ETag": f'"{stamp}"', "Cache-Control": "private, no-cache", "Vary": "Accept"}


def unchanged(request: Request, stamp: str) -> Response | None:
    """304 if the client's cached copy is current; None otherwise."""
    known = request.headers.get("if-none-match")
    if known is None:
        return None
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return Response(status_code=304, headers=tagged(stamp)) if {"*", f'"{stamp}"'} & tags else None


def ranged(request: Request, content: bytes, kind: str, stamp: str) -> Response:
    """The content, or the one part of it that the request's Range names (RFC 9110 14)."""
    headers = {**tagged(stamp), "Accept-Ranges": "bytes"}
    asked = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("range", "").replace(" ", ""), re.ASCII)
    condition = request.headers.get("if-range")
    if asked is None or not (asked[1] or asked[2]) or condition not in (None, headers["ETag"]):
        return Response(content, media_type=kind, headers=headers)
    size = len(content)
    first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
    last = min(int(asked[2]), size - 1) if asked[1] and asked[2] else size - 1
    if not first <= last < size:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(content[first : last + 1], 206, headers, kind)


def ascii_text(text: str) -> str:
    """Text escaped for a quoted string in a header."""
    return text.encode("ascii", "replace").decode().translate({ord('"'): "'", ord("\\"): "/", 10: " ", 13: " "})
