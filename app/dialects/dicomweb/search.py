"""QIDO-RS (PS3.18 10.6): searching for studies, series and instances."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from app.dialects.dicomweb.accept import JSON, accepted, check_json
from app.dialects.dicomweb.common import ROOT, SERIES, STUDY, ascii_text, get, service_root, uids
from app.services.dicomweb.folder import FolderDicomweb
from app.services.dicomweb.query import Level, query_of

_RETRIEVE_URL, _AVAILABILITY = "00081190", "00080056"
_CHARACTER_SET = "00080005"
_UIDS = (("studies", "0020000D"), ("series", "0020000E"), ("instances", "00080018"))


def router(face: FolderDicomweb) -> APIRouter:
    api = APIRouter()

    def answer(request: Request, level: Level, study: str = "", series: str = "") -> Response:
        check_json(accepted(request))
        study, series = uids(study, series)
        query = query_of(request.query_params.multi_items())
        root = service_root(request)
        found = [_described(entry, level, root) for entry in face.search(level, study, series, query)]
        # PS3.18 8.3.4: ignored parameters are reported in a Warning header.
        headers = {"Warning": f'299 segloop "{ascii_text("; ".join(query.warnings))}"'} if query.warnings else None
        content = json.dumps(found, separators=(",", ":")).encode()
        return Response(content, media_type=JSON, headers=headers)

    @get(api, f"/{ROOT}/studies")
    def studies(request: Request) -> Response:
        """Search for studies."""
        return answer(request, "studies")

    @get(api, f"{STUDY}/series")
    def series_of_study(request: Request, study: str) -> Response:
        """Search for series of a study."""
        return answer(request, "series", study)

    @get(api, f"/{ROOT}/series")
    def series(request: Request) -> Response:
        """Search for series."""
        return answer(request, "series")

    @get(api, f"{SERIES}/instances")
    def instances_of_series(request: Request, study: str, series: str) -> Response:
        """Search for instances of a series."""
        return answer(request, "instances", study, series)

    @get(api, f"{STUDY}/instances")
    def instances_of_study(request: Request, study: str) -> Response:
        """Search for instances of a study."""
        return answer(request, "instances", study)

    @get(api, f"/{ROOT}/instances")
    def instances(request: Request) -> Response:
        """Search for instances."""
        return answer(request, "instances")

    return api


def _described(entry: dict[str, Any], level: Level, root: str) -> dict[str, Any]:
    """A result with its Retrieve URL. JSON is UTF-8, whatever the file's character set is (PS3.18 F.2)."""
    address = root
    for name, tag in _UIDS:
        address += f"/{name}/{entry[tag]['Value'][0]}"
        if name == level:
            break
    added = {
        _CHARACTER_SET: {"vr": "CS", "Value": ["ISO_IR 192"]},
        _AVAILABILITY: {"vr": "CS", "Value": ["ONLINE"]},
        _RETRIEVE_URL: {"vr": "UR", "Value": [address]},
    }
    return dict(sorted({**entry, **added}.items()))
