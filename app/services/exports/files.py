"""What an export format is made of: files of a case, and files of the whole export."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, Literal, Protocol

from app.archives.label_store import LabelStore
from app.core.mask import Mask
from app.core.volume import Volume
from app.project.project import Project
from app.services.exports.plan import ExportCase, Plan


@dataclass(frozen=True)
class ExportFile:
    """A file, by its path below the export's folder. `holds` says what its bytes depend on: the image alone, or also
    the label and everything in the plan."""

    path: str
    holds: Literal["image", "label"]
    write: Callable[[BinaryIO], object]


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """A case whose voxels are read when a file needs them. Its attributes raise what `VolumeCache.volume` and
    `LabelStore.read` raise."""

    project: Project
    case: ExportCase

    @cached_property
    def volume(self) -> Volume:
        return self.project.volumes(self.case.row.origin).volume(self.case.row.case)

    @cached_property
    def mask(self) -> Mask:
        """The whole label."""
        return self.store.read(self.case.label, self.volume.geometry)

    @property
    def store(self) -> LabelStore:
        return self.project.labels

    @property
    def exported(self) -> Mask:
        """The label's exported structures only."""
        mask = self.mask
        return mask.keeping([s.number for s in mask.segments if self.case.states.get(s.name, "") in _SAID])


_SAID = ("segmented", "absent")


class ExportFormat(Protocol):
    """How one format writes an export. One object serves one export; nothing here looks at the folder."""

    def __init__(self, plan: Plan) -> None:
        """Raises `BadInput` if the format can't do what the options say."""

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        """The files of a case, the label's first. A case that the format can't hold raises a `SegloopError`, here or
        when its files are written, and is left out."""

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        """Paths and contents of the files about the whole export. `cases` are those that were written."""

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        """What the user should know about this export, a sentence each."""


def json_bytes(value: Any, *, sort: bool = True) -> bytes:
    """Indented JSON that is the same for the same value."""
    return (json.dumps(value, indent=2, sort_keys=sort, ensure_ascii=False) + "\n").encode()
