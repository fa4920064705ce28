"""The REST API of ITKIT's inference server, as used by its 3D Slicer plugin, in both generations.

Protocol: docs/protocols/itkit.md.

| module | holds |
| --- | --- |
| `models` | listing, loading and unloading: one model without a name (singular API), or many by name (plural API) |
| `infer` | segmenting an image; plural API if and only if the form has `model_name` |
| `routes` | error responses: JSON with the key `error`, which the plugin shows |

Nothing here deals with axes: images and label maps are NIfTI files with their geometry.
"""

from __future__ import annotations

from fastapi import APIRouter

from app.dialects.itkit import infer, models
from app.dialects.itkit.routes import Route
from app.services import Services


def router(services: Services) -> APIRouter:
    """All routes of the dialect."""
    api = APIRouter(prefix="/api", tags=["ITKIT"], route_class=Route)
    for add in (models.add_info, models.add, infer.add):
        add(api, services)
    return api
