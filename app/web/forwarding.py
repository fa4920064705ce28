"""What a proxy in front of the server says about a request, and the path at which it serves it.

A proxy that is trusted may say who its client is (`X-Forwarded-For`) and which scheme that client used
(`X-Forwarded-Proto`). From anybody else these headers are ignored. The host is always that of the `Host` header, which
a proxy has to pass on: `X-Forwarded-Host` would let a page in a browser on this machine pretend that it came by another
name than it did (docs/decisions/0026-what-a-proxy-may-say.md).

With `root_path`, the server's addresses begin with it: `/segloop/ohif/` for `/segloop`. A proxy may pass paths on with
it or without it. Requests that don't come through a proxy may leave it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.settings import EVERYONE


class Forwarding:
    """ASGI middleware, in front of all others. `root_path` is "" or begins with a slash and doesn't end with one;
    `trusted` are addresses and networks of proxies, or `*` for all."""

    def __init__(self, app: ASGIApp, root_path: str, trusted: Sequence[str]) -> None:
        self._app = app
        self._root = root_path
        self._everyone = EVERYONE in trusted
        self._networks = [ip_network(one, strict=False) for one in trusted if one != EVERYONE]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        through_proxy = self._trusts(peer) and ("x-forwarded-for" in headers or "x-forwarded-proto" in headers)
        if through_proxy:
            scope = self._forwarded(scope, headers, peer)
        if self._root and scope["path"] == self._root:
            # Without the trailing slash, the page's relative links would not resolve.
            await RedirectResponse(f"{self._root.rpartition('/')[2]}/")(scope, receive, send)
            return
        await self._app(self._below(scope, through_proxy), receive, send)

    def _trusts(self, host: str) -> bool:
        if self._everyone:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._networks)

    def _forwarded(self, scope: Scope, headers: Headers, peer: str) -> Scope:
        """The scope as if the client had connected without the proxies. Each proxy appends who connected to it, so the
        client is the last one that is no proxy of ours; what stands before it is what the client claims."""
        client = peer
        for named in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
            host = _host(named)
            if host is None:
                break
            client = host
            if not self._trusts(host):
                break
        scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        # The socket's own address is none that the client knows, so no address is made of it.
        return {
            **scope,
            "client": (client, 0),
            "server": None,
            **({"scheme": scheme} if scheme in ("http", "https") else {}),
        }

    def _below(self, scope: Scope, through_proxy: bool) -> Scope:
        """The scope with `root_path`, which is put before the path again if the proxy has removed it. Starlette routes
        by what follows `root_path` in `path`."""
        if not self._root:
            return scope
        if not scope["path"].startswith(f"{self._root}/"):
            if not through_proxy:
                return scope
            raw = scope.get("raw_path") or quote(scope["path"]).encode()
            scope = {**scope, "path": self._root + scope["path"], "raw_path": quote(self._root).encode() + raw}
        return {**scope, "root_path": self._root}


def _host(named: str) -> str | None:
    """The address in an element of `X-Forwarded-For`, of which some proxies write the port too; None if it is none."""
    text = named.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
