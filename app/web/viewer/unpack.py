"""The files of an npm tarball, read one after the other; nothing in it decides where anything is written."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from app.errors import BadFile

MOST_BYTES = 64 << 20
"""One file at most; the viewer's largest has 17 MB."""

_ROOT = "package/dist/"

# A demonstration network's run time (136 MB), source maps of other people's code, pathology's viewer, and what belongs
# to other ways of hosting. `app-config.js` is made by this server.
_DROPPED = re.compile(
    r"ort/.*|dicom-microscopy-viewer/.*|customizations/.*|.*\.map|(?:sw|init-service-worker|google|app-config)\.js"
    r"|es6-shim\.min\.js|oidc-client\.min\.js|polyfill\.min\.js|silent-refresh\.html|serve\.json|_headers|_redirects"
)


def files(tarball: Path) -> Iterator[tuple[str, bytes]]:
    """`(name, content)` of each file the viewer needs; names are relative to the folder of index.html.

    Raises `BadFile` for anything in the tarball that is neither file nor folder, for a name that leaves its folder, for
    a name that comes twice, and for a file that is too large.
    """
    seen: set[str] = set()
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                name = _checked(member)
                if name is None or _DROPPED.fullmatch(name):
                    continue
                if name in seen:
                    raise BadFile(f"{name!r} is twice in the tarball")
                seen.add(name)
                yield name, _content(archive, member)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadFile(f"{tarball} can't be unpacked: {error}") from error


def _checked(member: tarfile.TarInfo) -> str | None:
    """The name of a file below the root, None for what lies elsewhere or is a folder."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise BadFile(f"the tarball has a name that leaves its folder: {member.name!r}")
    if not (member.isfile() or member.isdir()):
        raise BadFile(f"the tarball has a link or a device: {member.name!r}")
    if member.isdir() or not member.name.startswith(_ROOT):
        return None
    return str(path.relative_to(_ROOT))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MOST_BYTES:
        raise BadFile(f"{member.name!r} has {member.size} bytes, more than {MOST_BYTES}")
    stream = archive.extractfile(member)
    if stream is None:
        raise BadFile(f"{member.name!r} has no content")
    return stream.read()
