"""BIDS (Brain Imaging Data Structure 1.10): images as raw data, labels as derivatives.

    sub-PATIENT/anat/sub-PATIENT_acq-CASE_T1w.nii.gz
    derivatives/segloop/sub-PATIENT/anat/sub-PATIENT_acq-CASE_desc-final_dseg.nii.gz, .json, and dseg.tsv

MR only is within the standard. CT is exported alike, with the suffix `ct` that BIDS Extension Proposal 24 has in mind,
and named in .bidsignore.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256

from app.core.case import Case
from app.core.label import FINAL
from app.errors import BadInput
from app.services.exports.files import ExportFile, OpenedCase, json_bytes
from app.services.exports.labelmaps import image_nifti, label_nifti
from app.services.exports.plan import ExportCase, Plan

VERSION = "1.10.0"
SUFFIXES = ("T1w", "T2w", "PDw", "T2starw", "FLAIR", "inplaneT1", "inplaneT2", "PDT2", "angio")
"""Of non-parametric structural MR images (BIDS, Modality specific files, MRI)."""

_SAID = {
    "FLAIR": "flair",
    "T2starw": r"t2\s*(\*|star)",
    "T1w": "t1",
    "T2w": "t2",
    "PDw": r"pdw?(?![a-z])|proton density",
}
"""How series descriptions name them."""

_README = """Images and labels that segloop exported.

The labels are in derivatives/segloop; what their values mean is in dseg.tsv there. Subjects are digests of the
patients' keys in the source, and manifest.json says which case each file is of.
"""


class BidsExport:
    def __init__(self, plan: Plan) -> None:
        suffix = plan.options.bids_suffix
        if suffix and suffix not in SUFFIXES:
            raise BadInput(f"BIDS has no suffix {suffix!r} for structural MR images: {', '.join(SUFFIXES)}")
        self._plan = plan

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        stem = _stem(case.case)
        label = f"derivatives/segloop/{stem}_desc-{_alphanumeric(case.case.label.tag)}_dseg"
        suffix = _suffix(case.case, self._plan.options.bids_suffix)
        yield ExportFile(f"{label}.nii.gz", "label", label_nifti(case, self._plan))
        said = {"Manual": case.case.label.tag == FINAL, "States": dict(case.case.states)}
        yield ExportFile(f"{label}.json", "label", lambda file: file.write(json_bytes(said)))
        yield ExportFile(f"{stem}_{suffix}.nii.gz", "image", image_nifti(case))

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        name = {"Name": "segloop", "BIDSVersion": VERSION}
        yield "dataset_description.json", json_bytes({**name, "DatasetType": "raw"})
        made = {"DatasetType": "derivative", "GeneratedBy": [{"Name": "segloop"}]}
        yield "derivatives/segloop/dataset_description.json", json_bytes({**name, **made})
        lines = ["\t".join(("index", "name", "color", "code"))]
        lines += [f"{value}\t{one}\t{self._color(value)}\t{self._code(value)}" for value, one in self._named()]
        yield "derivatives/segloop/dseg.tsv", ("\n".join(lines) + "\n").encode()
        subjects = dict.fromkeys(f"sub-{case.patient}" for case in cases)
        yield "participants.tsv", "\n".join(["participant_id", *subjects, ""]).encode()
        yield "README", _README.encode()
        outside = "/manifest.json\n" + ("*_ct.nii.gz\n" if any(map(_is_ct, cases)) else "")
        yield ".bidsignore", outside.encode()

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        if any(map(_is_ct, cases)):
            yield "CT is outside the BIDS standard: its files are named alike, and listed in .bidsignore"

    def _named(self) -> Iterator[tuple[int, str]]:
        return ((value, re.sub(r"\s", " ", name)) for value, name in self._plan.value_names())

    def _color(self, value: int) -> str:
        color = next((one.color for one in self._plan.structures if one.value == value), None)
        return "n/a" if color is None else "#{:02x}{:02x}{:02x}".format(*color)

    def _code(self, value: int) -> str:
        return next((f"{s.type.scheme}:{s.type.value}" for s in self._plan.structures if s.value == value), "n/a")


def _stem(case: ExportCase) -> str:
    acquisition = sha256(case.row.case.id.encode()).hexdigest()[:12]
    return f"sub-{case.patient}/anat/sub-{case.patient}_acq-{acquisition}"


def _is_ct(case: ExportCase) -> bool:
    return case.modality == "CT"


def _suffix(case: ExportCase, given: str) -> str:
    """Raises `BadInput` where nothing says it: a guess would be a false statement about the image."""
    if _is_ct(case):
        return "ct"
    if case.modality not in ("MR", "MRI"):
        raise BadInput(
            f"BIDS has no place for images of the modality {case.modality!r}; --modality says what volume files are"
        )
    if given:
        return given
    said = _said_by(case.row.case)
    if not said:
        raise BadInput(
            f"its description, {case.row.case.description!r}, doesn't say what kind of MR image it is; if all are of"
            " one kind, say it with --bids-suffix, such as T1w"
        )
    return said


def _said_by(case: Case) -> str:
    """The suffix that a series' description names; "" if it names none or several, or a map of measured values."""
    said = case.description.lower()
    if re.search(r"map|rho", said):
        return ""
    found = {suffix for suffix, pattern in _SAID.items() if re.search(rf"(?<![a-z])(?:{pattern})", said)}
    if found & {"FLAIR", "T2starw"}:
        found.discard("T2w")  # "T2 FLAIR", "T2*"
    return found.pop() if len(found) == 1 else ""


def _alphanumeric(tag: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", tag) or "label"
