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

    `id` is a series' SeriesInstanceUID, or a volume file's name without its extension. A volume file that DICOMweb
    shows as a series has the UIDs of that series. `stamp` changes whenever the images may have changed; it is part of
    every cache key. `location` is how the archive finds the case, and opaque to everything else. Strings are empty
    where the source has no value.
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
        """The key for splitting cases by patient: PatientID, else the study, else the case itself."""
        return self.patient_id or (self.study_uid if self.kind == "series" else "") or self.id


Origin = Literal["archive", "upload"]
"""Where a case comes from: the archive, or a client that sent it."""


Shows = Literal["everything", "dicomweb", "series"]
"""What a viewer can show: images that it downloads; what the archive has over DICOMweb, with volume files that are
shown as series; DICOM series of the archive only."""


@dataclass(frozen=True)
class CaseRow:
    """A case and what the catalog records about it.

    `problem` is why it can't be opened, "" if it can. `served_by` maps each strategy that offered it to
    `{"ts": seconds since the epoch, "client_id": ...}`. `info` are the clients' notes. `completed`: it has a final
    label. Only `offered` cases are handed out as the next one. `first_seen` and `expires` (None: never) are in seconds
    since the epoch.
    """

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
    """A score and its details, such as values per class. `created` is in seconds since the epoch; computing it took
    `seconds`."""

    scorer: str
    model_version: str
    value: float
    detail: Mapping[str, Any]
    created: float
    seconds: float


@dataclass(frozen=True)
class CaseClaim:
    """A case that is reserved for an annotator, `holder`, until `expires` (seconds since the epoch). `reason` is why
    `strategy` picked it."""

    case_id: str
    holder: str
    strategy: str
    reason: str
    expires: float
