"""How a request that can't be read is answered: one plain sentence, since ITK-SNAP shows the body as it is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect


class PlainRoute(APIRoute):
    """A route whose 422 has a sentence as `detail` instead of FastAPI's list. Other errors have one already."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except RequestValidationError as error:
                return JSONResponse({"detail": _sentence(error)}, 422)
            except ClientDisconnect:
                return JSONResponse({"detail": "the upload broke off"}, 400)  # nobody is left to read it

        return handler


def _sentence(error: RequestValidationError) -> str:
    first = error.errors()[0]
    where = str(first["loc"][1]) if len(first["loc"]) > 1 else "the request"
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
