"""The kind of a file: a DICOM instance, a volume file, something else, or broken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from app.archives.folder.fields import SEARCHABLE_FIELDS
from app.archives.folder.options import volume_stem
from app.archives.folder.volumes import VolumeFacts
from app.dicom.parsing import DEFLATED, PARSER_ERRORS, check_character_sets
from app.dicom.values import check_uid
from app.errors import BadFile, BadInput

if TYPE_CHECKING:
    from pydicom import Dataset

FileKind = Literal["instance", "volume", "other", "broken"]

MAGIC = b"DICM"
MAGIC_AT = 128
DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: a DICOMDIR, which is redundant here."""


@dataclass(frozen=True)
class Found:
    """The kind of a file. `reason` says why it is broken. `facts` are those of a volume file (`VolumeFacts`), all else
    is for instances only.

    `header` is the DICOM JSON of `SEARCHABLE_FIELDS`.
    """

    kind: FileKind
    reason: str = ""
    study: str = ""
    series: str = ""
    sop: str = ""
    sop_class: str = ""
    syntax: str = ""
    modality: str = ""
    header: str = ""
    facts: str = ""


def examine(path: Path, max_bytes: int) -> Found:
    """Examine a file's header. Never raises because of its content."""
    try:
        if volume_stem(path.name) is not None:
            return Found("volume", facts=VolumeFacts.read(path, max_bytes).encoded())
        with path.open("rb") as file:
            is_dicom = file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC
        return _examine_dicom(path) if is_dicom else Found("other")
    except BadInput as error:
        return Found("broken", reason=str(error))
    except PARSER_ERRORS as error:
        # Only the type of error: the parser's messages may quote patient data.
        return Found("broken", reason=f"can't be read ({type(error).__name__})")


def read_instance_header(path: Path, fields: Sequence[str] | None = None) -> Dataset:
    """A DICOM file's header without pixel data, or only its `fields`.

    Raises `BadFile` for deflated files and too many character sets, and what pydicom raises.
    """
    import pydicom
    from pydicom.filereader import read_file_meta_info

    # pydicom inflates without a limit, even if it stops before the pixel data.
    if read_file_meta_info(path).get("TransferSyntaxUID", "") in DEFLATED:
        raise BadFile("uses a deflated transfer syntax; store it uncompressed or with compressed frames")
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=None if fields is None else list(fields))
    check_character_sets(header)
    return header


def _examine_dicom(path: Path) -> Found:
    from app.dicom.integrity import is_image_class
    from app.dicom.pixel_layout import read_fields

    with path.open("rb") as file:
        header, layout = read_fields(file, SEARCHABLE_FIELDS)
    check_character_sets(header)
    if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
        return Found("other")
    study, series, sop = (check_uid(str(header.get(f"{level}InstanceUID", ""))) for level in ("Study", "Series", "SOP"))
    if layout is None and is_image_class(str(header.get("SOPClassUID", ""))):
        raise BadFile("an image without pixel data")
    return Found(
        "instance",
        study=study,
        series=series,
        sop=sop,
        sop_class=str(header.get("SOPClassUID", "")),
        syntax=str(header.file_meta.get("TransferSyntaxUID", "")),
        modality=str(header.get("Modality", "")),
        header=json.dumps(header.to_json_dict(suppress_invalid_tags=True), separators=(",", ":")),
    )
