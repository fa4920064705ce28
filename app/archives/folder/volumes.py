"""What the index keeps of a volume file, so that it can be listed as a DICOM series.

It is read from the header and from a few pieces of the content, never from the whole file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from app.core.case import Case
from app.core.volume import Geometry
from app.dicom.volume_series import SYNTAX, refusal, series_header, series_uids, sop_uid
from app.errors import BadFile
from app.formats.volume_files import read_beginning, read_header
from app.formats.volume_header import VolumeHeader

_PIECE = 1 << 16
_VOXELS = 1 << 15
_AIR_HU = -150.0

_MODALITIES = {
    "CT": {"ct", "cta", "cect", "ncct", "cbct"},
    "PT": {"pet", "pt", "suv"},
    "MR": {"mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "dwi", "adc", "pdw", "bold", "swi"},
}
"""Words in file names, among them the suffixes of BIDS."""


@dataclass(frozen=True)
class VolumeFacts:
    """`fingerprint` is that of the content; `slope` and `intercept` are those of the header. `refusal` is why it can't
    be shown as a DICOM series, "" if it can."""

    fingerprint: str
    shape: tuple[int, int, int]
    affine: list[list[float]]
    slope: float
    intercept: float
    modality: str
    refusal: str

    @classmethod
    def read(cls, path: Path, max_bytes: int) -> VolumeFacts:
        """Examine a volume file. Raises `BadFile`, `OSError`."""
        header = read_header(path, max_bytes)
        return cls(
            fingerprint=_fingerprint(path),
            shape=header.geometry.shape,
            affine=header.geometry.affine.tolist(),
            slope=header.slope,
            intercept=header.intercept,
            modality=_modality(path, header),
            refusal=refusal(header.geometry, header.layers),
        )

    @classmethod
    def decoded(cls, text: str) -> VolumeFacts:
        values = json.loads(text)
        return cls(**{**values, "shape": tuple(values["shape"])})

    def encoded(self) -> str:
        return json.dumps(asdict(self))

    def described(self, case: Case, modality: str) -> Case:
        """The case of the file with what a DICOM series has; unchanged if it can't be one. `modality` is that of the
        settings, "auto" for the file's own."""
        if self.refusal:
            return case
        uids = series_uids(case.id, self.fingerprint)
        return replace(
            case,
            study_uid=uids.study,
            series_uid=uids.series,
            frame_of_reference_uid=uids.frame_of_reference,
            modality=self.modality if modality == "auto" else modality,
            instances=self.shape[0],
        )

    def searchable(self, case: Case) -> str:
        """The header of its series for searches, as DICOM JSON."""
        header = series_header(case, Geometry(self.shape, self.affine))  # type: ignore[arg-type] # becomes an array
        return json.dumps(header.to_json_dict(), separators=(",", ":"))


def slice_entries(header: str, slices: int) -> Iterator[dict[str, Any]]:
    """The search results for the instances of a series, as `searchable` describes it."""
    common = json.loads(header)
    series = common["0020000E"]["Value"][0]
    for k in range(slices):
        yield {
            **common,
            "00080018": {"vr": "UI", "Value": [sop_uid(series, k)]},
            "00200013": {"vr": "IS", "Value": [k + 1]},
            "00083002": {"vr": "UI", "Value": [SYNTAX]},
        }


def matches(path: str, patterns: tuple[str, ...]) -> str:
    """The first pattern that a file matches, "" if none does. `path` is relative to the folder.

    A pattern is compared, without case, with the path after a slash: `*` also stands for slashes.
    """
    whole = f"/{path}".lower()
    return next((pattern for pattern in patterns if fnmatchcase(whole, pattern.lower())), "")


def _fingerprint(path: Path) -> str:
    """A digest of the size and of three pieces: the beginning with the header, the middle, and the end, where gzip
    keeps the checksum of everything."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, size // 2 - _PIECE // 2), max(0, size - _PIECE)}):
            file.seek(start)
            digest.update(file.read(_PIECE))
    return digest.hexdigest()[:32]


def _modality(path: Path, header: VolumeHeader) -> str:
    """A word in the name; else CT if there is air among the first voxels, else MR."""
    words = set(re.split(r"[^a-z0-9]+", path.name.lower()))
    named = [modality for modality, known in _MODALITIES.items() if words & known]
    if len(named) == 1:
        return named[0]
    try:
        return "CT" if bool((read_beginning(path, header, _VOXELS) <= _AIR_HU).any()) else "MR"
    except BadFile:
        return "MR"  # damaged, which is told when the case is opened
