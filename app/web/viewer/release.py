"""The one release of OHIF that this server installs, and how to tell that a file is it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha512
from pathlib import Path

from app.errors import BadFile

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
