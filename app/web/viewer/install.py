"""OHIF in a folder, ready to be served: one pinned release, fetched or brought, checked, unpacked, relocated and
compressed. It is there whole or not at all.

OHIF as it is built expects to be at `/` and knows addresses on the internet. Here it is at `/ohif/`, maybe behind
`/t/<token>` or `/u/<name>`, and may ask nobody else. Every rewrite says how often it must hit. Another number means
that OHIF is built in another way than the one that was looked at, and then nothing is installed.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha512
from pathlib import Path, PurePosixPath

from app.errors import BadFile, Conflict, SegloopError

PACKAGE = "@ohif/app"


@dataclass(frozen=True)
class Release:
    """`integrity` is what npm's registry says of the tarball: the algorithm, a dash, and the digest in base64."""

    version: str
    integrity: str

    @property
    def package(self) -> str:
        return f"{PACKAGE}@{self.version}"

    @property
    def file(self) -> str:
        """What `npm pack` calls the tarball."""
        return f"{PACKAGE.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def check(self, tarball: Path) -> None:
        """Raises `BadFile` if a file isn't this release, byte for byte."""
        digest = sha512()
        try:
            with tarball.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise BadFile(f"{tarball} can't be read: {error.strerror}") from error
        found = "sha512-" + base64.b64encode(digest.digest()).decode()
        if found != self.integrity:
            raise BadFile(f"{tarball} is not {self.package}: its sha512 is {found}, not {self.integrity}")


PINNED = Release(
    "3.13.2", "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
)
"""The newest that the browser tests pass with."""


MOST_BYTES = 64 << 20
"""One file at most; the viewer's largest has 17 MB."""

_ROOT = "package/dist/"

# A demonstration network's run time (136 MB), source maps of other people's code, pathology's viewer, and what belongs
# to other ways of hosting. `app-config.js` is made by this server.
_DROPPED = re.compile(
    r"ort/.*|dicom-microscopy-viewer/.*|customizations/.*|.*\.map|(?:sw|init-service-worker|google|app-config)\.js"
    r"|es6-shim\.min\.js|oidc-client\.min\.js|polyfill\.min\.js|silent-refresh\.html|serve\.json|_headers|_redirects"
)


def unpacked(tarball: Path) -> Iterator[tuple[str, bytes]]:
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


STAMP = "segloop.json"
COMPRESSED = frozenset({".js", ".css", ".wasm", ".svg", ".json", ".html"})
_FETCH_SECONDS = 600.0


@dataclass(frozen=True)
class Installed:
    """What an installation says of itself. `bytes` are those of the files as they are, uncompressed."""

    version: str
    integrity: str
    files: int
    bytes: int


def home(viewer_dir: Path, release: Release = PINNED) -> Path:
    """Where a release lies."""
    return viewer_dir / f"ohif-{release.version}"


def fetch(into: Path, release: Release = PINNED) -> Path:
    """Ask npm for the tarball, from whatever registry this person's npm is set to. Runs nothing of the package.

    Raises `SegloopError` with what to do where there is no npm, or it doesn't find the package.
    """
    npm = shutil.which("npm")
    by_hand = (
        f"Where npm works, run `npm pack {release.package}`, bring the file {release.file} here, and say"
        f" `segloop viewer install --from {release.file}`"
    )
    if npm is None:
        raise SegloopError(f"npm is not on this machine, and OHIF comes from npm's registry. {by_hand}")
    command = [npm, "pack", release.package, "--pack-destination", str(into), "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)  # noqa: S603 - no shell, our own words
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SegloopError(f"npm didn't fetch {release.package}: {error}. {by_hand}") from error
    tarball = into / release.file
    if done.returncode != 0 or not tarball.is_file():
        why = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise SegloopError(f"npm didn't fetch {release.package}: {why[0]}. {by_hand}")
    return tarball


def install(
    tarball: Path, viewer_dir: Path, release: Release = PINNED, relocation: Relocation | None = None
) -> Installed:
    """Put a release below `viewer_dir`; one that is there is replaced. Raises `BadFile`; then nothing has changed."""
    release.check(tarball)
    viewer_dir.mkdir(parents=True, exist_ok=True)
    final = home(viewer_dir, release)
    with tempfile.TemporaryDirectory(dir=viewer_dir, prefix=".installing-") as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        done = _write(tarball, new, release, relocation or Relocation())
        if final.exists():
            final.rename(old)
        try:
            new.rename(final)
        except OSError as error:
            raise Conflict(f"{final} was installed by someone else at the same time") from error
    return done


def installed(viewer_dir: Path, release: Release = PINNED) -> Installed | None:
    """What is installed, if it is this release, whole."""
    try:
        found = Installed(**json.loads((home(viewer_dir, release) / STAMP).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.integrity == release.integrity else None


def _write(tarball: Path, folder: Path, release: Release, relocation: Relocation) -> Installed:
    count = size = 0
    for name, content in unpacked(tarball):
        relocated = relocation.apply(name, content)
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(relocated)
        if file.suffix in COMPRESSED and name != "index.html":
            # Compressed once here: a browser across a network loads a quarter of the bytes, and nobody waits for it.
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(relocated, 6, mtime=0))
        count, size = count + 1, size + len(relocated)
    relocation.finish()
    if not (folder / "index.html").is_file():
        raise BadFile(f"{tarball} has no viewer in it")
    done = Installed(release.version, release.integrity, count, size)
    (folder / STAMP).write_text(json.dumps(asdict(done)))
    return done
