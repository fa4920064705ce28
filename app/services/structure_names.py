"""The names of a label's structures: those of the project, and never a guess."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.core.mask import Mask
from app.errors import BadInput

_PLACEHOLDER = re.compile(r"(?:segment|label)[ _-]?(\d+)", re.IGNORECASE)
"""What viewers call a segment that nobody has named: OHIF `Segment 1`, 3D Slicer `Segment_1`, ITK-SNAP and MITK
`Label 1`. `app.formats` and `app.dicom` name segments that have no name in the same way."""


def placeholder(number: int) -> str:
    """The name of a segment that has none."""
    return f"Segment {number}"


@dataclass(frozen=True)
class StructureNames:
    """`own` are the project's structures: those of the settings and of its models. `known` may be used: also those of
    labels that were stored before."""

    own: tuple[str, ...]
    known: tuple[str, ...]

    def of(self, mask: Mask, sent: Sequence[str] | None = None) -> Mask:
        """The mask with a structure of the project for each segment.

        A segment without a name is the n-th of the names that were `sent` beside the mask, if it is called "Segment n";
        else it is the project's only structure, if there is one and the mask has one segment. Raises `BadInput`
        with the project's structures: names are missing, the project doesn't know them, or two segments have the same.
        """
        names = [self._named(segment.name, sent) for segment in mask.segments]
        self.check(name for name in names if name is not None)
        missing = [segment.name for segment, name in zip(mask.segments, names, strict=True) if name is None]
        if missing and (len(self.own) != 1 or len(names) != 1):
            which = _listed([name.strip() or "the segment" for name in missing])
            raise BadInput(f"nothing says which structure is meant by {which}: send its name. {self._said()}")
        found = [name if name is not None else self.own[0] for name in names]
        if twice := [name for name, count in Counter(found).items() if count > 1]:
            raise BadInput(
                f"more than one segment is called {_listed(twice)}: merge them, or rename one. {self._said()}"
            )
        return mask.renamed(found)

    def one(self, name: str) -> str:
        """The structure of a mask that has one. Raises `BadInput` as `of`."""
        if name:
            self.check([name])
            return name
        if len(self.own) != 1:
            raise BadInput(f"nothing says which structure this is: send its name. {self._said()}")
        return self.own[0]

    def check(self, names: Iterable[str]) -> None:
        """Raise `BadInput`, with the nearest ones, for names that the project doesn't know."""
        unknown = [name for name in dict.fromkeys(names) if name not in self.known]
        if not unknown:
            return
        near = dict.fromkeys(found for name in unknown if (found := self._nearest(name)))
        meant = f" Did you mean {_either(list(near))}?" if near else ""
        one = "no structure" if len(unknown) == 1 else "no structures"
        raise BadInput(
            f"the project has {one} {_listed([repr(name) for name in unknown])}.{meant} {self._said()}; more can be"
            " added in the setting labels.structures"
        )

    def _named(self, name: str, sent: Sequence[str] | None) -> str | None:
        """The name of a segment, None if nobody gave it one."""
        match = _PLACEHOLDER.fullmatch(name.strip()) if name not in self.known else None
        if match is None:
            return name if name.strip() else None
        position = int(match[1])
        if sent is None or not 1 <= position <= len(sent):
            return None
        return self._named(sent[position - 1], None)

    def _nearest(self, name: str) -> str | None:
        folded = {known.casefold(): known for known in reversed(self.known)}
        close = difflib.get_close_matches(name.casefold(), folded, n=1)
        return folded[close[0]] if close else None

    def _said(self) -> str:
        return f"This project's structures: {_listed(self.known, most=40)}"


def _listed(values: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(values[:most])
    return shown if len(values) <= most else f"{shown} ..."


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
