"""The stored states of one session, one file for each position of its log (`app.services.prompting.timeline`):

    states/00000017-3f2a9c0b51e4d786.bin

The name has the position and the beginning of the log's digest there (`SessionLog.digests`), so a file of another log
is never used. A file has what the model had in memory, and which voxels of the mask its step changed; the mask itself
follows from the changes. A `-root` file was stored without knowing its step's change: one can go back to it, but not
past it. Files survive the end of the process, not a power cut, as the log's steps do: what is missing is replayed, or
can't be undone.
"""

from __future__ import annotations

import logging
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.model import SessionState
from app.core.prompt import Region
from app.errors import BadFile
from app.services.prompting.framing import framed, unframed

logger = logging.getLogger(__name__)

MAGIC = b"segloop state 1\n"

_NAME = re.compile(r"(\d{8})-([0-9a-f]{16})(-root)?\.bin")


@dataclass(frozen=True, eq=False)
class Flip:
    """The voxels of the mask that a step changed, bool of `region.shape`: the same from 0 to 1 and from 1 to 0, so it
    leads there and back."""

    region: Region
    voxels: NDArray[np.bool_]

    @classmethod
    def between(cls, before: NDArray[np.uint8], after: NDArray[np.uint8], region: Region | None) -> Flip | None:
        """What differs within `region` of two masks; None if nothing does."""
        if region is None:
            return None
        differs = before[region.slices] != after[region.slices]
        inside = Region.around(differs)
        if inside is None:
            return None
        k, j, i = (a + b for a, b in zip(region.low, inside.low, strict=True))
        n, m, p = inside.shape
        return cls(Region((k, j, i), (k + n, j + m, i + p)), differs[inside.slices].copy())

    def apply(self, mask: NDArray[np.uint8]) -> None:
        """Change a mask in place."""
        mask[self.region.slices] ^= self.voxels


@dataclass(frozen=True, eq=False)
class StoredState:
    """A session at one position: its model's `state` with the weights of `version`, the mask's change since the
    position before (None: nothing), and whether it was `edited` by hand since the model's last prompt."""

    version: str
    state: SessionState
    flip: Flip | None
    edited: bool


class StateFiles:
    """The files of one session, `most_bytes` together; those of the earliest positions are deleted first. Not
    thread-safe."""

    def __init__(self, folder: Path, most_bytes: int, digests: list[str]) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._sizes: dict[int, int] = {}
        self._names: dict[int, str] = {}
        for file in folder.glob("*.bin"):
            found = _NAME.fullmatch(file.name)
            position = int(found[1]) if found else -1
            if found and position < len(digests) and digests[position].startswith(found[2]):
                self._sizes[position] = file.stat().st_size
                self._names[position] = file.name
            else:
                file.unlink(missing_ok=True)

    def __contains__(self, position: int) -> bool:
        return position in self._names

    def is_root(self, position: int) -> bool:
        """Whether the change that led to a stored state isn't known."""
        return self._names.get(position, "").endswith("-root.bin")

    def keep(self, position: int, digest: str, stored: StoredState, root: bool = False) -> None:
        """Write a state. Failures are only logged: then it isn't there."""
        try:
            content = _encoded(stored)
            self._folder.mkdir(exist_ok=True)
            name = f"{position:08}-{digest[:16]}{'-root' if root else ''}.bin"
            (self._folder / ".writing").write_bytes(content)
            (self._folder / ".writing").rename(self._folder / name)
        except OSError:
            logger.exception("a state to undo to could not be written to %s", self._folder)
            return
        self._sizes[position], self._names[position] = len(content), name
        while sum(self._sizes.values()) > self._most_bytes and len(self._sizes) > 1:
            self.drop([min(self._sizes)])

    def read(self, position: int) -> StoredState:
        """A stored state. Raises `BadFile` if it is missing or damaged."""
        try:
            content = (self._folder / self._names[position]).read_bytes()
        except (KeyError, OSError) as error:
            raise BadFile(f"the state at {position} isn't stored") from error
        return _decoded(content)

    def drop(self, positions: list[int]) -> None:
        """Delete states, if they are there."""
        for position in positions:
            name = self._names.pop(position, None)
            self._sizes.pop(position, None)
            if name is not None:
                (self._folder / name).unlink(missing_ok=True)


def _encoded(stored: StoredState) -> bytes:
    parts = dict(stored.state.parts)
    values = {
        "version": stored.version,
        "edited": stored.edited,
        "form": stored.state.form,
        "values": stored.state.values,
        "flip": None,
    }
    if stored.flip is not None:
        values["flip"] = [stored.flip.region.low, stored.flip.region.high]
        parts = {"flip": zlib.compress(np.packbits(stored.flip.voxels).tobytes(), 1), **parts}
    return framed(MAGIC, values, parts)


def _decoded(content: bytes) -> StoredState:
    values, parts = unframed(MAGIC, content)
    try:
        flip = None
        if values["flip"] is not None:
            low, high = (tuple(int(x) for x in corner) for corner in values["flip"])
            region = Region(low, high)  # type: ignore[arg-type]
            bits = np.frombuffer(zlib.decompress(parts.pop("flip")), np.uint8)
            count = int(np.prod(region.shape))
            flip = Flip(region, np.unpackbits(bits, count=count).astype(bool).reshape(region.shape))
        state = SessionState(values["form"], values["values"], parts)
        return StoredState(values["version"], state, flip, bool(values["edited"]))
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise BadFile(f"a state can't be read: {error!r}") from error
