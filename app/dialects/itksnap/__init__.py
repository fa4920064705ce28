"""ITK-SNAP's deep learning extension (itksnap-dls), both client generations (docs/protocols/itksnap.md).

| module | holds |
| --- | --- |
| `sessions` | what ITK-SNAP asks before it does anything; start, upload, reset, end |
| `strokes` | points, scribbles and lassos |
| `images` | ids that need no table, and which image lies behind one |
| `metadata`, `buffers` | decoding what is sent: where voxels lie, and the voxels |
| `routes` | who is drawing, and how a request that can't be read is answered |

Voxels on the wire go x fastest, then y, then z, which is `(k, j, i)` in C order; coordinates come as x, y, z and turn
round in `strokes`, nowhere else. All paths are at the root: ITK-SNAP has no field for a path.

ITK-SNAP takes every answer with status 200 for a mask and doesn't look at its length, so whatever fails here has to
answer with another status (docs/protocols/itksnap.md, section 2.4).
"""

from __future__ import annotations

from fastapi import APIRouter

from app.dialects.itksnap import sessions, strokes
from app.dialects.itksnap.images import Images, SessionIds
from app.dialects.itksnap.routes import PlainRoute
from app.services import Services


def router(services: Services) -> APIRouter:
    """All routes of the dialect."""
    images = Images(services.prompting, SessionIds(services.secret()))
    api = APIRouter(tags=["ITK-SNAP"], route_class=PlainRoute)
    for part in (sessions.about_router(services), sessions.router(services, images), strokes.router(services, images)):
        api.include_router(part)
    return api
