"""Answers that a browser may keep and ask about (RFC 9110 8.8, 13.1)."""

from __future__ import annotations

import re

from fastapi import Request, Response


def tagged(stamp: str) -> dict[str, str]:
    """Headers of an answer that changes with `stamp`. It is asked about each time: files may be replaced."""
    return {"ETag": f'"{stamp}"', "Cache-Control": "private, no-cache", "Vary": "Accept"}


def unchanged(request: Request, stamp: str) -> Response | None:
    """304 if the client has what it would get."""
    known = request.headers.get("if-none-match")
    if known is None:
        return None
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return Response(status_code=304, headers=tagged(stamp)) if {"*", f'"{stamp}"'} & tags else None


def ranged(request: Request, content: bytes, kind: str, stamp: str) -> Response:
    """The content, or the one part of it that the request's Range names (RFC 9110 14)."""
    headers = {**tagged(stamp), "Accept-Ranges": "bytes"}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").replace(" ", ""), re.ASCII)
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
