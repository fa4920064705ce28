"""`/proxy/dicom/`: the DICOMweb service under the names that MONAI Label gives it.

Protocol: docs/protocols/monailabel.md, section 11.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.types import Receive, Scope, Send

SERVICE = "/dicom-web"
PREFIX = "/proxy/dicom"


def router() -> APIRouter:
    api = APIRouter()

    @api.get(f"{PREFIX}/{{path:path}}", include_in_schema=False)
    @api.head(f"{PREFIX}/{{path:path}}", include_in_schema=False)
    @api.post(f"{PREFIX}/{{path:path}}", include_in_schema=False)
    async def alias() -> Response:
        """The DICOMweb service, which MONAI Label calls wado, qido and stow."""
        return _AnswerOfTheService()

    return api


class _AnswerOfTheService(Response):
    """What the routes of the service answer to the same request, which they get with its body unread."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root, _, path = scope["path"].partition(f"{PREFIX}/")
        kind, _, rest = path.partition("/")
        target = f"{root}{SERVICE}/{rest if kind in ('wado', 'qido', 'stow') else path}"
        routed = {key: value for key, value in scope.items() if key not in ("path_params", "endpoint", "route")}
        await scope["app"].router({**routed, "path": target, "raw_path": target.encode()}, receive, send)
