"""A route whose errors the dialect turns into responses, before the application's handlers (`app.web.errors`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.errors import BadInput
from app.http.bodies import JsonRequest


class JsonRoute(APIRoute):
    """A route whose JSON bodies have a limit, and in which a number too large for a column or an array is the client's
    error, not the server's."""

    def received(self, request: Request) -> Request:
        """The request that is passed to the endpoint; may be wrapped."""
        return JsonRequest(request.scope, request.receive) if self.body_field is not None else request

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute.get_route_handler`."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            try:
                return await handle(self.received(request))
            except OverflowError as error:
                raise BadInput("a number in the request is out of range") from error

        return bounded


class GuardedRoute(JsonRoute):
    """Base class of the dialects' routes. Subclasses implement `refusal`; they may have another limit of bodies
    (`received`)."""

    def refusal(self, request: Request, error: Exception) -> Response | None:
        """The response to a request that failed with `error`; None re-raises it for the application's handlers."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute.get_route_handler`."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                answer = self.refusal(request, error)
                if answer is None:
                    raise
                return answer

        return guarded
