"""Where this service is, as the client sees it."""

from __future__ import annotations

from fastapi import Request

ROOT = "dicom-web"


def service_root(request: Request) -> str:
    """The address of the service without a slash at its end, below whatever prefix the client came by."""
    base = request.base_url
    server = request.scope.get("server")
    # dicomweb-client sends a Host without the port. A name that is our own socket's can only mean that socket.
    if base.port is None and server and base.hostname == server[0] and server[1] not in (None, 80, 443):
        base = base.replace(port=server[1])
    return f"{str(base).rstrip('/')}/{ROOT}"
