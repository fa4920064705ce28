"""The page's own script, style and chart library, read once: no path from a request is ever opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served; anything else in the folder (licences, notes) is for people who read the code."""


@dataclass(frozen=True)
class StaticFile:
    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        return f'"{sha256(self.content).hexdigest()[:32]}"'


def static_files() -> Mapping[str, StaticFile]:
    """By their names below `static/`, such as `vendor/uPlot.esm.js`."""
    return _found(files("app.web.dashboard") / "static", "")


def _found(folder: Traversable, prefix: str) -> dict[str, StaticFile]:
    found: dict[str, StaticFile] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _found(entry, f"{prefix}{entry.name}/")
            continue
        media_type = next((kind for ending, kind in TYPES.items() if entry.name.endswith(ending)), None)
        if media_type is not None:
            found[prefix + entry.name] = StaticFile(entry.read_bytes(), media_type)
    return found
