"""Files of the archive that are left out of its cases."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from app.dialects.api.common import Asking
from app.services import Services


class UnusedFileShape(BaseModel):
    """A file that is left out, relative to the archive, and why."""

    path: str
    reason: str


def add(api: APIRouter, services: Services) -> None:
    @api.get("/quarantine", summary="Files that are left out of cases")
    def listed() -> list[UnusedFileShape]:
        """Damaged files in a folder archive, as of the last sync. Other archives have none."""
        return [UnusedFileShape(path=file.path, reason=file.reason) for file in services.quarantine.files()]

    @api.delete("/quarantine/{path:path}", summary="Set a file aside", status_code=204)
    def set_aside(path: str, asking: Asking) -> None:
        """Moves the file into `.quarantine` in the folder; nothing is deleted. It is one that is left out, or one that
        was stored through this server (below `received/`); 404 for any other."""
        services.quarantine.set_aside(path, asking.who)
