"""OHIF in a folder, ready to be served: fetched or brought, checked, relocated, compressed. It is there whole or not at
all."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import BadFile, Conflict, SegloopError
from app.web.viewer import unpack
from app.web.viewer.release import PINNED, Release
from app.web.viewer.relocate import Relocation

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
    for name, content in unpack.files(tarball):
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
