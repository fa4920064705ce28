"""What may be served: names that were listed beforehand, looked up and never joined to a path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff2": "font/woff2",
    ".xml": "text/xml; charset=utf-8",
}
"""Stated here: what the system's table says differs between machines, and browsers run no script of a wrong type."""

_HASHED = re.compile(r"(?:.*\.)?[0-9a-f]{16}\.(?:js|wasm|woff2)")
_DAY = "private, max-age=86400"
_ASK = "private, no-cache"


@dataclass(frozen=True)
class Files:
    """The files below a folder, by their names relative to it. A compressed twin (`x.js.gz`) has no name of its own."""

    by_name: Mapping[str, Path]

    @classmethod
    def below(cls, folder: Path) -> Files:
        found = (path for path in sorted(folder.rglob("*")) if path.suffix in TYPES and path.is_file())
        return cls({path.relative_to(folder).as_posix(): path for path in found})

    def answer(self, name: str, request: Request) -> Response | None:
        """The file of that name, compressed if there is such a twin and the browser takes it; None if there is none."""
        path = self.by_name.get(name)
        if path is None:
            return None
        twin = path.with_name(path.name + ".gz")
        packed = "gzip" in request.headers.get("accept-encoding", "") and twin.is_file()
        sent = twin if packed else path
        state = sent.stat()
        headers = {
            "Cache-Control": _DAY if _HASHED.fullmatch(path.name) else _ASK,
            "ETag": f'"{state.st_mtime_ns:x}-{state.st_size:x}"',
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            **({"Content-Encoding": "gzip"} if packed else {}),
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return FileResponse(sent, headers=headers, media_type=TYPES[path.suffix], stat_result=state)
