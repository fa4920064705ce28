"""A route whose refusals look as ITKIT's clients expect them, whatever raised them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from app.dialects.itkit.errors import dressed


class Route(APIRoute):
    """Dresses errors before the application's own handlers, which write `detail`, see them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                return dressed(request, error)

        return answer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = sorted(self.methods or ())
        if scope["method"] in taken:
            await super().handle(scope, receive, send)
            return
        told = f"{scope['path']} takes {', '.join(taken)}, not {scope['method']}"
        await JSONResponse({"error": told}, 405, {"Allow": ", ".join(taken)})(scope, receive, send)
