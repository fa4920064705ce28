"""A request's body in memory, within a limit. For dialects whose bodies are one array each."""

from __future__ import annotations

from fastapi import Request

from app.errors import BadFile


async def whole_body(request: Request, limit: int) -> bytearray:
    """The whole body, streamed into one buffer that is never copied as a whole.

    The buffer grows with what really comes: a length that a header merely claims reserves no memory. What the body is
    said to be encoded with is not looked at. Raises `BadFile` for more than `limit` bytes.
    """
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if not (declared.isascii() and declared.isdigit() and int(declared) > limit):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
        else:
            return body
    raise BadFile(f"more than {limit >> 20} MB; the setting labels.max_upload_bytes allows that much")
