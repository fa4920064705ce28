"""A route whose errors the dialect turns into responses, before the application's handlers (`app.web.errors`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class GuardedRoute(APIRoute):
    """Base class of the dialects' routes. Subclasses implement `refusal`; they may also limit bodies (`received`)."""

    def refusal(self, request: Request, error: Exception) -> Response | None:
        """The response to a request that failed with `error`; None re-raises it for the application's handlers."""
        raise NotImplementedError

    def received(self, request: Request) -> Request:
        """The request that is passed to the endpoint; may be wrapped."""
        return request

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute.get_route_handler`."""
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
