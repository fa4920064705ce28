"""DICOMweb (DICOM PS3.18) at `/dicom-web`, through which OHIF, 3D Slicer and programs read studies.

For a DICOMweb archive, requests are forwarded to it. For a folder, this server implements the service:

| module | holds |
| --- | --- |
| `search` | QIDO-RS |
| `retrieve`, `frames` | WADO-RS: headers, instances, bulk data; frames and pictures |
| `store` | STOW-RS: receiving objects, and the result of each |
| `passing` | forwarding requests to the archive |
| `accept`, `multipart`, `common` | content negotiation, multipart bodies, common parts |

With either, a stored segmentation of one of this server's cases becomes the next version of its label. The differences
to Orthanc are in `docs/dicomweb.md`.
"""

from __future__ import annotations

from typing import NoReturn

from fastapi import APIRouter

from app.dialects.dicomweb import frames, passing, retrieve, search, store
from app.dialects.dicomweb.common import ROOT
from app.errors import NotSupported
from app.services import Services
from app.services.dicomweb.proxy import DicomwebProxy


def router(services: Services) -> APIRouter:
    """All routes of the dialect."""
    api = APIRouter(tags=["DICOMweb"])
    dicomweb = services.dicomweb()
    if isinstance(dicomweb, DicomwebProxy):
        api.include_router(passing.router(services, dicomweb))
    elif dicomweb is not None:
        frames.add_route(api, dicomweb)
        for routes in (frames.pictures, retrieve.router, search.router):
            api.include_router(routes(dicomweb))
        api.include_router(store.router(services, dicomweb))
    api.include_router(_nothing_else(served=dicomweb is not None))
    return api


def _nothing_else(served: bool) -> APIRouter:
    api = APIRouter()

    @api.get(f"/{ROOT}/{{path:path}}", response_model=None, include_in_schema=False)
    @api.post(f"/{ROOT}/{{path:path}}", response_model=None, include_in_schema=False)
    def refuse(path: str) -> NoReturn:
        """Anything else: 501."""
        if not path.strip("/"):
            raise NotSupported("WADO-URI is not served; use WADO-RS (in OHIF: imageRendering 'wadors')")
        if not served:
            raise NotSupported("the studies are neither in a folder nor in a DICOMweb archive, so there is no DICOMweb")
        raise NotSupported(f"{path[:80]!r} is no DICOMweb resource that is served here")

    return api
