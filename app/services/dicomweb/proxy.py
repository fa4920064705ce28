"""A proxy for viewers' DICOMweb requests to the archive, whose credentials only this server has."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import httpx

from app.core.archive import DicomwebUpstream
from app.errors import ArchiveUnavailable, BadInput, NotFound, NotSupported

MAX_HEAD = 512
"""Bytes held back from a stream at most, from a quote on, to find a URL that two chunks share."""


class Addresses:
    """Rewrites URLs below `upstream`, the root of the archive's service, to URLs below `ours`: a browser that followed
    one of the archive's would leave its origin and have no credentials there.

    The host isn't compared: behind a reverse proxy the archive may use an internal name. A URL is recognised by its
    place at the beginning of a value, the path of `upstream`, and a DICOMweb resource after that.
    """

    def __init__(self, upstream: str, ours: str) -> None:
        path = re.escape(urlsplit(upstream).path.rstrip("/").encode())
        pattern = rb"""(["'])https?://[^"'/\s]{1,256}""" + path + rb"(?=/(?:studies|series|instances|bulkdata)\b)"
        # JSON may write a slash with a backslash in front.
        self._found = re.compile(pattern.replace(b"/", rb"\\?/").replace(rb"'\\?/\s", rb"'/\\\s"))
        self._ours = ours.rstrip("/").encode()

    def in_text(self, text: bytes) -> bytes:
        """Rewrite the URLs in a complete text."""
        return self._found.sub(lambda found: found[1] + self._ours, text)

    async def in_stream(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Rewrite the URLs in a stream, also one that is split between two chunks."""
        held = b""
        async for chunk in chunks:
            held += chunk
            cut = len(held)
            quote = max(held.rfind(b'"'), held.rfind(b"'"))
            if quote >= 0 and len(held) - quote <= MAX_HEAD:
                cut = quote
            if cut:
                yield self.in_text(held[:cut])
                held = held[cut:]
        if held:
            yield self.in_text(held)


def has_addresses(content_type: str) -> bool:
    """Whether a response of this type is text that contains URLs of resources."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("json", "xml")) or (kind == "multipart/related" and "+xml" in content_type.lower())


_RESOURCES = ("studies", "series", "instances", "bulkdata")
"""The resources below a DICOMweb root. Nothing else is forwarded, because requests carry this server's credentials."""

_FORWARDED_HEADERS = (
    "accept",
    "accept-charset",
    "accept-language",
    "content-type",
    "content-length",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
)
"""Request headers that are forwarded. Authorization and cookies are meant for this server only."""

_DROPPED_HEADERS = (
    "connection",
    "keep-alive",
    "proxy-",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "set-cookie",
    "www-authenticate",
    "server",
    "date",
    "access-control-",
)
"""Prefixes of response headers that aren't returned: they concern the connection to the archive."""


@dataclass(frozen=True)
class Upstream:
    """The archive's response. Read `chunks`, then call `close`."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]


class DicomwebProxy:
    """Streams requests and responses, so that a series of a gigabyte takes no memory and no thread here."""

    def __init__(self, upstream: DicomwebUpstream) -> None:
        self._upstream = upstream
        self._client: httpx.AsyncClient | None = None

    async def forward(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: AsyncIterable[bytes] | None,
        ours: str,
    ) -> Upstream:
        """Forward a request for `path` below the archive's DICOMweb root; URLs in the response are rewritten to `ours`.

        Raises `NotFound` or `BadInput` for a path that is no DICOMweb resource, `NotSupported` for WADO-URI, and
        `ArchiveUnavailable`.
        """
        url = f"{self._upstream.url.rstrip('/')}/{_checked(path)}" + (f"?{query}" if query else "")
        asked = {name: headers[name] for name in _FORWARDED_HEADERS if name in headers}
        # Orthanc would deflate each frame for clients that accept it, which is five to ten times slower.
        asked["accept-encoding"] = "identity"
        client = self._connected()
        until = asyncio.get_running_loop().time() + self._upstream.total_seconds
        try:
            request = client.build_request(method, url, headers=asked, content=body)
            async with asyncio.timeout_at(until):
                answer = await client.send(request, stream=True)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ArchiveUnavailable(f"the archive doesn't answer: {type(error).__name__}", retry_after=30) from error
        problem = _problem(answer.status_code)
        if problem:
            await answer.aclose()
            raise ArchiveUnavailable(problem, retry_after=300)
        kept = {name: value for name, value in answer.headers.items() if not name.lower().startswith(_DROPPED_HEADERS)}
        addresses = Addresses(self._upstream.url, ours)
        for name in ("location", "content-location"):
            if name in kept:
                kept[name] = addresses.in_text(f'"{kept[name]}'.encode())[1:].decode()
        chunks = _raw(answer, until)
        plain = "content-encoding" not in kept and answer.status_code != 206
        if plain and has_addresses(kept.get("content-type", "")):
            kept.pop("content-length", None)
            chunks = addresses.in_stream(chunks)
        return Upstream(answer.status_code, kept, chunks, answer.aclose)

    async def close(self) -> None:
        """Close the connections to the archive."""
        if self._client is not None:
            await self._client.aclose()

    def _connected(self) -> httpx.AsyncClient:
        """The HTTP client, made at the first request because it belongs to the event loop that uses it."""
        if self._client is None:
            to = self._upstream
            self._client = httpx.AsyncClient(
                headers=_credentials(to),
                timeout=httpx.Timeout(to.read_timeout, connect=to.connect_timeout),
                verify=ssl.create_default_context(cafile=to.verify) if isinstance(to.verify, str) else to.verify,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
            )
        return self._client


def _credentials(upstream: DicomwebUpstream) -> dict[str, str]:
    if upstream.token:
        return {"Authorization": f"Bearer {upstream.token}"}
    if upstream.user:
        pair = f"{upstream.user}:{upstream.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _checked(path: str) -> str:
    """The path, percent-encoded for the archive. Raises for a path outside the DICOMweb resources."""
    segments = path.rstrip("/").split("/")
    if segments == [""]:
        raise NotSupported("WADO-URI is not passed on; use WADO-RS (in OHIF: imageRendering 'wadors')")
    if segments[0] not in _RESOURCES:
        raise NotFound(f"{segments[0]!r} is no DICOMweb resource; there are: {', '.join(_RESOURCES)}")
    if any(segment in ("", ".", "..") or "\\" in segment for segment in segments):
        raise BadInput("a DICOMweb path has no empty or relative parts")
    return "/".join(quote(segment, safe=",:=@+$!*'()~;&") for segment in segments)


def _problem(status: int) -> str:
    """The message for a status that viewers can't act on (credentials, redirects); "" for any other."""
    if status in (401, 403):
        return "the archive refuses this server's user name and password"
    if 300 <= status < 400 and status != 304:
        return "the archive redirects elsewhere, which is not followed; set its address to where it is now"
    return ""


async def _raw(answer: httpx.Response, until: float) -> AsyncIterator[bytes]:
    """The body's chunks, until a time of the event loop. Raises `ArchiveUnavailable`."""
    chunks = answer.aiter_raw()
    try:
        while True:
            async with asyncio.timeout_at(until):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk
    except TimeoutError as error:
        await answer.aclose()
        raise ArchiveUnavailable("the archive didn't end its answer in time", retry_after=30) from error
