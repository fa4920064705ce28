"""The archive's addresses in its answers, turned into this server's: a browser that followed one would leave its origin
and find no credentials there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

MOST_HEAD = 512
"""An address in JSON or XML begins with a quote and a host; what is kept back to find one is not longer than this."""


class Addresses:
    """Rewrites addresses below `upstream`, the root of the archive's service, to the same below `ours`.

    Whatever host the archive thinks it has: behind a proxy it may name one that nobody else knows. What counts is that
    the address begins a value and goes on with a DICOMweb resource.
    """

    def __init__(self, upstream: str, ours: str) -> None:
        path = re.escape(urlsplit(upstream).path.rstrip("/").encode())
        pattern = rb"""(["'])https?://[^"'/\s]{1,256}""" + path + rb"(?=/(?:studies|series|instances|bulkdata)\b)"
        # JSON may write a slash with a backslash in front.
        self._found = re.compile(pattern.replace(b"/", rb"\\?/").replace(rb"'\\?/\s", rb"'/\\\s"))
        self._ours = ours.rstrip("/").encode()

    def in_text(self, text: bytes) -> bytes:
        return self._found.sub(lambda found: found[1] + self._ours, text)

    async def in_stream(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same text in pieces; an address may be cut anywhere."""
        held = b""
        async for chunk in chunks:
            held += chunk
            cut = len(held)
            quote = max(held.rfind(b'"'), held.rfind(b"'"))
            if quote >= 0 and len(held) - quote <= MOST_HEAD:
                cut = quote
            if cut:
                yield self.in_text(held[:cut])
                held = held[cut:]
        if held:
            yield self.in_text(held)


def has_addresses(content_type: str) -> bool:
    """Whether an answer of this type is text that names addresses of resources."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.endswith(("json", "xml")) or (kind == "multipart/related" and "+xml" in content_type.lower())
