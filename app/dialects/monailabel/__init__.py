"""The MONAI Label REST API (release 0.8.5), as 3D Slicer, OHIF and the Python client speak it.

| module | holds |
| --- | --- |
| `info`, `infer`, `activelearning`, `tasks` | the loop: what there is, segment, the next case, train and score |
| `datastore`, `images`, `labels`, `dataset`, `session` | images and labels, in and out |
| `model`, `logs`, `auth`, `proxy`, `wsi` | the rest of the routes |
| `params`, `app.http.forms` | decoding requests |
| `multipart`, `answers` | encoding answers |
| `clicks`, `scribbles`, `structures` | what was clicked and painted, and for whom that was remembered |

Voxel indices on the wire are `[i, j, k]`; `clicks` turns them round, and nothing else here deals with axes. Endpoints
are plain functions, which run in threads; those that take files await the upload first and nothing else.
"""

from __future__ import annotations

from fastapi import APIRouter

from app.dialects.monailabel import (
    activelearning,
    auth,
    dataset,
    datastore,
    images,
    infer,
    info,
    labels,
    logs,
    model,
    proxy,
    session,
    tasks,
    wsi,
)
from app.services import Services


def router(services: Services) -> APIRouter:
    """All routes of the dialect. What has to be remembered between calls is made here, once per application."""
    api = APIRouter()
    # Before `infer`, whose path parameter would take "wsi" for a model's name.
    for part in (wsi, info, infer, activelearning, tasks, datastore, images, labels, dataset, session, model):
        api.include_router(part.router(services))
    for part in (logs, auth):
        api.include_router(part.router(services))
    api.include_router(proxy.router())
    return api
