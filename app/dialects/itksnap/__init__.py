"""ITK-SNAP's deep learning extension (itksnap-dls), both client generations (docs/protocols/itksnap.md).

| module | holds |
| --- | --- |
| `sessions` | status and models; starting, uploading to, resetting and ending a session |
| `strokes` | points, scribbles and lassos |
| `images` | stateless session ids, and the image of a session |
| `metadata`, `buffers` | decoding uploads: the grid, and the voxels |
| `routes` | the user, and responses to malformed requests |

Voxels on the wire are x fastest, then y, then z, which is `(k, j, i)` in C order; coordinates are x, y, z and are
reversed in `strokes` only. All paths are at the root: ITK-SNAP has no field for a path.

ITK-SNAP treats every response with status 200 as a mask and doesn't check its length, so every error must have another
status (docs/protocols/itksnap.md, section 2.4).
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
