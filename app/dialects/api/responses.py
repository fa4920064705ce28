"""How answers that are no JSON are described on the API page."""

from __future__ import annotations

from typing import Any

from fastapi.responses import Response


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """A file."""
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}}}


def text(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


class EventStream(Response):
    media_type = "text/event-stream"
