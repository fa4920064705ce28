"""One image offered for labelling, and what this server keeps about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

CaseKind = Literal["series", "file"]
"""`series`: a DICOM series; `file`: one NIfTI, NRRD or MetaImage file."""


@dataclass(frozen=True)
class Case:
    """A DICOM series in the archive, or one volume file in a folder.

    `id` is the SeriesInstanceUID of a series, and the file's name without its ending of a volume file. `stamp` changes
    whenever the images may have changed (it is part of every cache key). `location` is where the archive finds the
    case (it means something to that archive only). Strings are empty where the source says nothing.
    """

    id: str
    kind: CaseKind
    stamp: str
    location: str = ""
    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    modality: str = ""
    description: str = ""
    body_part: str = ""
    manufacturer: str = ""
    study_date: str = ""
    study_time: str = ""
    frame_of_reference_uid: str = ""
    instances: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def patient_key(self) -> str:
        """Who this is of, for splits by patient: PatientID, else the study, else the case itself."""
        return self.patient_id or self.study_uid or self.id


Origin = Literal["archive", "upload"]
"""Where a case comes from: the archive, or a client that sent it."""


@dataclass(frozen=True)
class CaseRow:
    """A case with what this server keeps about it."""

    case: Case
    origin: Origin
    problem: str
    first_seen: float
    served_by: Mapping[str, Mapping[str, Any]]
    info: Mapping[str, Any]
    completed: bool
    offered: bool
    expires: float | None


@dataclass(frozen=True)
class CaseScore:
    """A score with what the scorer noted. `created` is in seconds since the epoch."""

    scorer: str
    model_version: str
    value: float
    detail: Mapping[str, Any]
    created: float


@dataclass(frozen=True)
class Lease:
    """`expires` is in seconds since the epoch; `reason` is why the case was picked."""

    case_id: str
    holder: str
    strategy: str
    reason: str
    expires: float
