"""The MONAI Label REST API (release 0.8.5), as 3D Slicer, OHIF and the Python client speak it.

| module | holds |
| --- | --- |
| `info`, `infer`, `activelearning`, `tasks` | the loop: what there is, segment, the next case, train and score |
| `datastore`, `images`, `labels` | images and labels, in and out |
| `server` | the server's log, and its missing login |
| `routes`, `params`, `clicks` | decoding requests |
| `answers` | encoding masks |
| `structures` | for whom it is remembered what was clicked and painted |

Voxel indices on the wire are `[i, j, k]`; `clicks` turns them round, and nothing else here deals with axes. Endpoints
are plain functions, which run in threads; those that take files await the upload first and nothing else.
"""

from __future__ import annotations

from fastapi import APIRouter

from app.dialects.monailabel import activelearning, datastore, images, infer, info, labels, server, tasks
from app.services import Services


def router(services: Services) -> APIRouter:
    """All routes of the dialect. What has to be remembered between calls is made here, once per application."""
    api = APIRouter()
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
