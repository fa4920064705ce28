"""Objects that viewers store (STOW-RS). A segmentation of one of this server's cases becomes the next version of its
label; everything else goes to the archive."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.archives.label_store import label_series_uid
from app.core.archive import DicomFiles
from app.core.case import Case
from app.core.label import FINAL, Label
from app.dicom.parsing import meta_values, parse
from app.dicom.values import check_uid
from app.errors import BadFile, BadInput, Conflict, GeometryMismatch, SegloopError, Unavailable, UnknownCase
from app.services.cases import CaseService
from app.services.labels import LabelService

logger = logging.getLogger(__name__)

SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation Storage and Label Map Segmentation Storage."""

PROCESSING_FAILED = 0x0110
ANOTHER_IS_STORED = 0x0111
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
NOT_UNDERSTOOD = 0xC000
"""Failure Reasons (PS3.4 table GG.4-1, PS3.7 annex C)."""

COERCED = 0xB000
"""The Warning Reason of an object that is stored in another form than it was sent."""


@dataclass(frozen=True)
class Reference:
    """The object in one part of a request, as its file meta information identifies it; "" where it doesn't."""

    sop_class: str
    sop: str


@dataclass(frozen=True)
class Outcome:
    """The result for one object. It is stored if `reason` is 0, at `location` (relative to the service); `problem` is
    the text for people."""

    reference: Reference
    location: str = ""
    warning: int = 0
    reason: int = 0
    problem: str = ""


Rest = Callable[[bytes, Reference], Outcome | None]
"""Handles an object that is no label; None if its outcome is known later."""


@dataclass(frozen=True)
class Incoming:
    """Sorts stored objects into labels and others. Thread-safe."""

    cases: CaseService
    labels: LabelService

    def take(self, parts: Iterable[bytes], study: str, who: str, client: str, rest: Rest) -> list[Outcome]:
        """Store the segmentations among Part 10 files as labels and pass the others to `rest`; returns the outcomes.

        With `study` only segmentations of that study are accepted. An object that can't be stored gives an outcome with
        a reason. If `parts` raises `BadInput`, that ends the list with such an outcome; it is raised if no object came
        before it.
        """
        outcomes: list[Outcome] = []
        whole = iter(parts)
        while True:
            try:
                part = next(whole, None)
            except BadInput as error:
                if not outcomes:
                    raise
                outcomes.append(Outcome(Reference("", ""), reason=NOT_UNDERSTOOD, problem=str(error)))
                part = None
            if part is None:
                return outcomes
            part = _with_preamble(part)
            reference = _reference(part)
            try:
                outcome = self._label(part, reference, study, who, client) or rest(part, reference)
            except (SegloopError, OSError) as error:
                logger.info("an object that %s tried to store is refused: %s", who, error)
                problem = str(error) if isinstance(error, SegloopError) else "the server can't write to its disk"
                outcome = Outcome(reference, reason=_reason(error), problem=problem)
            if outcome is not None:
                outcomes.append(outcome)

    def _label(self, part: bytes, reference: Reference, study: str, who: str, client: str) -> Outcome | None:
        """The outcome for a segmentation of one of this server's cases; None for any other object."""
        if reference.sop_class not in SEGMENTATIONS:
            return None
        dataset = parse(part)
        series = next((str(s.get("SeriesInstanceUID", "")) for s in dataset.get("ReferencedSeriesSequence") or ()), "")
        try:
            case = self.cases.shown_as(series).case
        except UnknownCase:
            return None
        if not case.series_uid:
            return None
        if study and str(dataset.get("StudyInstanceUID", "")) != study:
            raise BadInput("the instance is of another study")
        label = self.labels.submit_seg(case.id, part, who, client)
        return Outcome(reference, _location(label, case), warning=COERCED)


def into_folder(client: DicomFiles, study: str, labels: LabelService) -> Callable[[bytes, Reference], Outcome]:
    """A handler that stores objects in a folder archive, within `study` unless it is ""."""

    def store(part: bytes, reference: Reference) -> Outcome:
        dataset = parse(part)
        labelled = bool(labels.history(str(dataset.get("SeriesInstanceUID", ""))))
        client.store_file(part, study or None, in_use=labelled)
        reference = Reference(str(dataset.get("SOPClassUID", "")), str(dataset.SOPInstanceUID))
        address = f"studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances/{reference.sop}"
        return Outcome(reference, address)

    return store


def _location(label: Label, case: Case) -> str:
    """Where the archive has a label once it is delivered."""
    series = label_series_uid(case, FINAL)
    return f"studies/{case.study_uid}/series/{series}/instances/{label.sop_instance_uid}"


def _with_preamble(part: bytes) -> bytes:
    """Add the preamble to a file that begins with its meta information: pydicom writes that for a dataset made in
    memory, and dicomweb-client sends it."""
    return bytes(128) + b"DICM" + part if part.startswith(b"\x02\x00") and part[4:6].isalpha() else part


def _reference(part: bytes) -> Reference:
    """The UIDs in the file meta information; empty if they are missing or malformed, so that they can't be echoed."""
    try:
        sop_class, sop = ("".join(meta_values(part[: 1 << 14], element)) for element in (0x0002, 0x0003))
        return Reference(check_uid(sop_class), check_uid(sop))
    except (BadInput, ValueError):
        return Reference("", "")


def _reason(error: Exception) -> int:
    if isinstance(error, BadFile):
        return NOT_UNDERSTOOD
    if isinstance(error, GeometryMismatch):
        return DOES_NOT_MATCH
    if isinstance(error, Conflict):
        return ANOTHER_IS_STORED
    if isinstance(error, (Unavailable, OSError)):
        return OUT_OF_RESOURCES
    return PROCESSING_FAILED
