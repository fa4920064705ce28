"""The MONAI Label REST API (release 0.8.5), as used by 3D Slicer, OHIF and the Python client.

| module | holds |
| --- | --- |
| `info`, `infer`, `activelearning`, `tasks` | server info, segmentation, the next case, training and scoring |
| `datastore`, `images`, `labels` | uploading and downloading images and labels |
| `server` | the server's log, and its missing login |
| `routes`, `params`, `clicks` | decoding requests |
| `answers` | encoding masks |
| `structures` | the prompt session of each annotator's structure |

Voxel indices on the wire are `[i, j, k]`; `clicks` reverses them, and nothing else here deals with axes. Endpoints are
plain functions, which run in threads; those that receive files only await the upload.
"""

from __future__ import annotations

from fastapi import APIRouter

from app.dialects.monailabel import activelearning, datastore, images, infer, info, labels, server, tasks
from app.http.routes import JsonRoute
from app.services import Services


def router(services: Services) -> APIRouter:
    """All routes of the dialect. State shared between requests is created here, once per application."""
    api = APIRouter(route_class=JsonRoute)
    for routes in (
        info.router,
        infer.router,
        activelearning.router,
        tasks.router,
        datastore.router,
        images.router,
        labels.router,
        images.session_router,
        info.weights_router,
        server.router,
    ):
        api.include_router(routes(services))
    return api
