"""STOW-RS: storing one label, and verifying that it was stored.

Status codes aren't reliable: archives answer 200 to a body that they couldn't read, and 200 to a second object with the
same UID while they keep the first. So each request has one instance and a Content-Length (archives that don't support
chunked bodies answer 200 and store nothing: ImagingDataCommons/dicomweb-client#42), and a label counts as stored when
the response lists it in ReferencedSOPSequence and it is the same when read back.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from app.archives.dicomweb.options import DicomwebOptions
from app.archives.dicomweb.retrieve import ConnectionLost, NotThere, retrieve
from app.archives.dicomweb.session import ArchiveSession, answers_wanted, origin, refusal
from app.core.archive import Delivery, Receipt
from app.dicom.parsing import PARSER_ERRORS, parse
from app.dicom.values import check_uid
from app.errors import ArchiveRefuses, ArchiveUnavailable, BadFile, Conflict, IntegrityError

if TYPE_CHECKING:
    import requests
    from pydicom import Dataset

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage."""
DETAILED = (200, 202)
"""Status codes whose body must list each instance's result (PS3.18 table 10.5.3-1); for errors it is optional."""
TOO_LARGE, UNSUPPORTED = 413, 415
"""Status codes that are permanent for a label."""
AMBIGUOUS = (400, 404, 405, 409, 422, 501)
"""Status codes that may be caused by the label or by the service (a proxy during startup, a wrong address): retried,
but rarely."""
AMBIGUOUS_RETRY = 600.0
"""Seconds until such a retry."""


@dataclass(frozen=True)
class Stow:
    """Stores labels in one archive. Idempotent: a label that the archive already has counts as stored."""

    session: ArchiveSession
    options: DicomwebOptions

    def store(self, delivery: Delivery) -> Receipt:
        """Store a DICOM SEG.

        Raises `ArchiveUnavailable` (temporary), `ArchiveRefuses` (permanent), `BadFile`, `IntegrityError`, and
        `Conflict` if the archive holds another object with the same SOPInstanceUID.
        """
        data = delivery.file.read_bytes()
        if hashlib.sha256(data).hexdigest() != delivery.sha256:
            raise IntegrityError(f"label {delivery.tag} {delivery.number} of {delivery.case.id} has changed on disk")
        sent = parse(data)
        if str(sent.get("SOPInstanceUID", "")) != delivery.sop_instance_uid or sent.SOPClassUID not in SEGMENTATIONS:
            raise BadFile("the label's file is not the DICOM SEG that was recorded for it")
        url = self._instance_url(sent)
        if not self._is_there(url, sent, len(data)):
            self._send(data, sent)
            if not self._is_there(url, sent, len(data)):
                raise ArchiveUnavailable(
                    f"the archive at {origin(url)} confirmed that it stored a label, but doesn't have it"
                )
        return Receipt(url)

    def _instance_url(self, dataset: Dataset) -> str:
        study, series, instance = (
            check_uid(str(dataset.get(f"{level}InstanceUID", ""))) for level in ("Study", "Series", "SOP")
        )
        return f"{self.options.wado_root}/studies/{study}/series/{series}/instances/{instance}"

    def _is_there(self, url: str, sent: Dataset, length: int) -> bool:
        # An archive may decompress it.
        expected = length + _decoded_bytes(sent)
        try:
            with closing(retrieve(self.session, url, self.options, expected)) as files:
                parts = list(islice(files, 2))
        except NotThere:
            return False
        except ConnectionLost as error:
            raise ArchiveUnavailable(f"the archive at {origin(url)} broke off while a label was read back") from error
        if len(parts) != 1:
            return False
        try:
            held = parse(parts[0])
        except BadFile as error:
            raise ArchiveUnavailable(
                f"the archive at {origin(url)} answers with something that is not DICOM"
            ) from error
        found = difference(sent, held)
        if found is not None:
            raise Conflict(f"the archive at {origin(url)} holds another object under the label's UID: {found}")
        return True

    def _send(self, data: bytes, sent: Dataset) -> None:
        boundary = hashlib.sha256(data).hexdigest()[:40]
        body = b"".join(
            (
                f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {len(data)}\r\n\r\n".encode(),
                data,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        url = f"{self.options.stow_root}/studies"
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"',
            "Accept": "application/dicom+json",
        }
        with answers_wanted(url):
            answer = self.session.post(url, data=body, headers=headers)
            stored, failed = _outcome_of(answer)
        uid = str(sent.SOPInstanceUID)
        if uid in failed:
            kind = ArchiveRefuses if _is_final(failed[uid]) else ArchiveUnavailable
            raise kind(f"the archive at {origin(url)} refuses a label: {_reason(failed[uid])}")
        if uid in stored:
            return
        if answer.status_code in (TOO_LARGE, UNSUPPORTED):
            why = (
                f"it is too large ({len(data) / 2**20:.1f} MiB)"
                if answer.status_code == TOO_LARGE
                else "it doesn't accept files of this type"
            )
            raise ArchiveRefuses(
                f"the archive at {origin(url)}, or a proxy in front of it, refuses a label: {why} (status"
                f" {answer.status_code})"
            )
        if answer.status_code not in DETAILED:
            raise _ambiguous(url, answer.status_code)
        raise ArchiveUnavailable(f"the archive at {origin(url)} doesn't confirm that it stored a label")


def _decoded_bytes(label: Dataset) -> int:
    """The length of a label's voxels, decompressed."""
    frames, rows, columns, bits = (
        int(label.get(keyword) or 1) for keyword in ("NumberOfFrames", "Rows", "Columns", "BitsAllocated")
    )
    return frames * rows * columns * bits // 8


def _outcome(answer: object) -> tuple[set[str], dict[str, int]]:
    """The SOPInstanceUIDs that a STOW-RS response (PS3.18 annex I) lists as stored, and the FailureReason of others."""
    from pydicom import Dataset

    if isinstance(answer, list):
        answer = answer[0] if answer else {}
    if not isinstance(answer, dict):
        raise ValueError("not a DICOM JSON object")
    result = Dataset.from_json(answer)
    stored = {str(item.get("ReferencedSOPInstanceUID", "")) for item in result.get("ReferencedSOPSequence") or ()}
    failed = {
        str(item.get("ReferencedSOPInstanceUID", "")): int(item.get("FailureReason") or 0)
        for item in result.get("FailedSOPSequence") or ()
    }
    return stored, failed


def _outcome_of(answer: requests.Response) -> tuple[set[str], dict[str, int]]:
    """`_outcome` of a response; empty for an error without such details. Raises `ValueError`."""
    try:
        return _outcome(answer.json() if answer.content else {})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if answer.status_code in DETAILED:
            raise ValueError("not a DICOM JSON object") from error
        return set(), {}


def _ambiguous(url: str, status: int) -> ArchiveUnavailable:
    error = refusal(url, status)
    return ArchiveUnavailable(str(error), AMBIGUOUS_RETRY) if status in AMBIGUOUS else error


def _is_final(code: int) -> bool:
    """Whether a FailureReason is caused by the object itself (PS3.18 table I.2-2, PS3.7 annex C): its SOP class or
    transfer syntax isn't supported, it doesn't match its SOP class, it can't be understood, or a value is invalid or
    missing.

    Not: out of resources (A7xx), processing failure (0110), not authorized (0124), and duplicate SOP instance (0111),
    which the next attempt compares.
    """
    return code & 0xFF00 == 0xA900 or code & 0xF000 == 0xC000 or code in (0x0106, 0x0117, 0x0120, 0x0121, 0x0122)


def _reason(code: int) -> str:
    """A FailureReason in words (PS3.18 table I.2-2)."""
    if code & 0xFF00 == 0xA700:
        return "it is out of resources"
    if code & 0xFF00 == 0xA900 or code & 0xF000 == 0xC000:
        return f"it doesn't accept the object (reason {code:04X})"
    if code == 0x0122:
        return "it doesn't take DICOM SEG"
    return f"reason {code:04X}"


if TYPE_CHECKING:
    from pydicom import Dataset

COMPARED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "SegmentationType",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "SegmentSequence",
    "ReferencedSeriesSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""The attributes that must be equal. Archives may coerce others, such as a patient's name."""


def difference(sent: Dataset, held: Dataset) -> str | None:
    """What differs between two objects, as text; None if they are the same label.

    Pixel data are compared as stored bytes, or decoded if the archive changed the transfer syntax.
    """
    for keyword in COMPARED:
        if sent.get(keyword) != held.get(keyword):
            return f"{keyword} differs"
    if sent.get("PixelData") == held.get("PixelData"):
        return None
    try:
        same = sent.pixel_array.tobytes() == held.pixel_array.tobytes()
    except PARSER_ERRORS:
        return "PixelData can't be decoded"
    return None if same else "PixelData differs"
