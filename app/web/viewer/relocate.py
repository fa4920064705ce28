"""OHIF as it is built expects to be at `/` and knows addresses on the internet. Here it is at `/ohif/`, maybe behind
`/t/<token>` or `/u/<name>`, and may ask nobody else.

Every rewrite says how often it must hit. Another number means that OHIF is built in another way than the one that was
looked at, and then nothing is installed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import BadFile

BASE = b"{SEGLOOP_BASE}"
"""Stands in index.html for the path where the viewer is, `/ohif/` at its end; put in for every request."""

NONCE = b"{SEGLOOP_NONCE}"
"""Stands in index.html for the word that lets its own inline scripts run, and no others."""

# In a page `window.PUBLIC_URL` is set by index.html. Workers lie beside the page's scripts and know their own address.
_PUBLIC_PATH = b'typeof document === "object" ? window.PUBLIC_URL : new URL("./", self.location.href).href'


@dataclass(frozen=True)
class Rewrite:
    """`pattern` becomes `new` in the files whose name matches `files`, `hits` times in all."""

    files: str
    pattern: bytes
    new: bytes
    hits: int

    def apply(self, name: str, content: bytes) -> tuple[bytes, int]:
        if not re.fullmatch(self.files, name):
            return content, 0
        return re.subn(self.pattern, self.new, content)


REWRITES = (
    # Where the program loads its parts from.
    Rewrite(r"[^/]+\.js", rb'__webpack_require__\.p = "/"', b"__webpack_require__.p = " + _PUBLIC_PATH, 8),
    Rewrite(r"[^/]+\.js", rb"browserImportFunction\('/", b"browserImportFunction(window.PUBLIC_URL + '", 1),
    Rewrite(r"[^/]+\.css", rb"url\(/(?!/)", b"url(", 5),
    Rewrite(r"manifest\.json", rb'"src": "/', b'"src": "', 9),
    # index.html: no service worker, whose cache outlives an update; one that loads another's code at that.
    Rewrite(r"index\.html", rb'<script [^>]*src="/init-service-worker\.js"></script>', b"", 1),
    Rewrite(r"index\.html", rb'window\.PUBLIC_URL="/"', b'window.PUBLIC_URL="' + BASE + b'"', 2),
    Rewrite(r"index\.html", rb'(href|src|content)="/(?!/)', rb'\1="' + BASE, 32),
    Rewrite(r"index\.html", rb"<script>", b'<script nonce="' + NONCE + b'">', 2),
    # Addresses elsewhere: weights of a demonstration network, a pipeline of itk-wasm, a translation service.
    Rewrite(r"[^/]+\.js", rb"https://huggingface\.co/schmuell/", b"not-on-this-server/", 6),
    Rewrite(r"[^/]+\.js", rb"https://cdn\.jsdelivr\.net/npm/@itk-wasm/", b"not-on-this-server/", 1),
    Rewrite(r"[^/]+\.js", rb"https://(?:api|www)\.locize\.io", b"not-on-this-server", 9),
)
"""For the pinned release."""


class Relocation:
    """Goes through the files of one release, then says whether each rewrite was there."""

    def __init__(self, rewrites: Iterable[Rewrite] = REWRITES) -> None:
        self._rewrites = tuple(rewrites)
        self._hits: Counter[Rewrite] = Counter()

    def apply(self, name: str, content: bytes) -> bytes:
        """One file as it has to be. `name` is relative to the folder of index.html."""
        for rewrite in self._rewrites:
            content, hits = rewrite.apply(name, content)
            self._hits[rewrite] += hits
        return content

    def finish(self) -> None:
        """Raises `BadFile` if any rewrite hit more or less often than it must."""
        wrong = [
            f"{rewrite.pattern.decode()!r} in {rewrite.files!r}: {self._hits[rewrite]} times, not {rewrite.hits}"
            for rewrite in self._rewrites
            if self._hits[rewrite] != rewrite.hits
        ]
        if wrong:
            raise BadFile("this OHIF is built in another way than expected; " + "; ".join(wrong))
