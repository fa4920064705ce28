"""Small tarballs in the shape of npm's, with everything that the rewrites look for."""

from __future__ import annotations

import base64
import io
import tarfile
from hashlib import sha512
from pathlib import Path

from app.web.viewer.install import Release

PAGE = (
    '<html><link href="/a.css"><script>window.PUBLIC_URL="/"</script>'
    '<script rel="preload" type="module" src="/init-service-worker.js"></script>'
    '<script src="/app.bundle.0123456789abcdef.js"></script></html>'
)
FILES = {
    "package/package.json": "{}",
    "package/dist/index.html": PAGE,
    "package/dist/app.bundle.0123456789abcdef.js": '__webpack_require__.p = "/"; fetch("https://huggingface.co/schmuell/x")',
    "package/dist/a.css": "@font-face { src: url(/f.woff2) } .a { background: url(//other) }",
    "package/dist/assets/logo.svg": "<svg/>",
    "package/dist/codec.wasm": "wasm",
    "package/dist/app.bundle.js.map": "{}",
    "package/dist/ort/large.wasm": "not needed",
    "package/dist/app-config.js": "window.config = {}",
    "package/dist/sw.js": "importScripts('https://elsewhere')",
}


def tarball(file: Path, files: dict[str, str] = FILES, *more: tarfile.TarInfo) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
        for member in more:
            archive.addfile(member)
    return file


def release_of(file: Path) -> Release:
    return Release("3.13.2", "sha512-" + base64.b64encode(sha512(file.read_bytes()).digest()).decode())
