"""A route whose errors a dialect words itself, before the application's own table (`app.web.errors`) sees them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class GuardedRoute(APIRoute):
    """Base of the dialects' routes. A subclass says what it answers; it may also put a limit on bodies."""

    def refusal(self, request: Request, error: Exception) -> Response | None:
        """The answer to a request that failed with `error`; None leaves it to the application."""
        raise NotImplementedError

    def received(self, request: Request) -> Request:
        """The request as the endpoint gets it."""
        return request

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(self.received(request))
            except Exception as error:
                answer = self.refusal(request, error)
                if answer is None:
                    raise
                return answer

        return guarded
