"""Requests that browsers make: whose page they come from, and which host they are meant for.

A browser adds Basic credentials and cookies to requests of every page. `Sec-Fetch-Site` (W3C Fetch Metadata), or in
older browsers and over plain HTTP `Origin`, says whose page it was; pages can't set either. Programs send neither.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTS = {"http": 80, "https": 443}


def is_own(method: str, headers: Headers, origins: Collection[str]) -> bool:
    """Whether a request comes from a page of this server, from one of `origins`, from the address bar, a link that is
    followed, or from a program."""
    origin = headers.get("origin", "")
    if origin in origins and origin:
        return True
    site = headers.get("sec-fetch-site")
    if site is None:
        return not origin or _is_same(origin, headers.get("host", ""))
    return site in ("same-origin", "none") or _is_followed_link(method, headers)


def is_page(method: str, headers: Headers) -> bool:
    """Whether a browser is about to show the answer as a page."""
    return method == "GET" and "text/html" in headers.get("accept", "").lower()


def host_of(headers: Headers) -> str:
    """The host that a request names, without its port; "" if it is malformed."""
    return _split(f"//{headers.get('host', '')}").hostname or ""


def is_named(host: str, names: Collection[str]) -> bool:
    """Whether a host is one of `names`; `*.example.org` stands for every host below that domain."""
    return host in names or any(name.startswith("*.") and host.endswith(name[1:]) for name in names)


def _is_followed_link(method: str, headers: Headers) -> bool:
    """A page that is opened by a link on another site: it changes nothing here, and the other site can't read it."""
    return (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _is_same(origin: str, host: str) -> bool:
    """Whether an origin has this host and port. Its scheme may differ: a proxy in front ends TLS."""
    page = _split(origin)
    here = _split(f"//{host}")
    if page.scheme not in _PORTS or not page.hostname:
        return False
    try:
        ports = page.port or _PORTS[page.scheme], here.port or _PORTS[page.scheme]
    except ValueError:
        return False
    return page.hostname == here.hostname and ports[0] == ports[1]


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
