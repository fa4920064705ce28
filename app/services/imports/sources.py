"""The mask files of a source: a file or a folder, with what a segloop export, nnU-Net or the Decathlon say about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydicom import dcmread

from app.dicom.parsing import PARSER_ERRORS
from app.dicom.rtstruct_read import referenced_series
from app.errors import BadInput
from app.services.exports import MANIFEST

Kind = Literal["seg", "rtstruct", "volume"]

_VOLUMES = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_LABEL_FOLDERS = ("labelsTr", "labelsTs")


@dataclass(frozen=True)
class MaskFile:
    """A file that may hold a mask. `name` is its path below the source.

    `series` is the series that a DICOM object refers to, `uid` its SOPInstanceUID. `values` are the names of voxel
    values, and `told` is what the manifest of an export says of it, if there is one.
    """

    path: Path
    name: str
    kind: Kind
    series: str = ""
    uid: str = ""
    values: Mapping[int, str] = field(default_factory=dict)
    told: Mapping[str, Any] | None = None

    @property
    def stem(self) -> str:
        """The file's name without its format's ending."""
        name = self.path.name
        ending = next((e for e in _VOLUMES if name.lower().endswith(e)), self.path.suffix)
        return name[: len(name) - len(ending)] if ending else name


def mask_files(source: Path) -> Iterator[MaskFile]:
    """In the order of their names. DICOM objects of other kinds than segmentations and structure sets are left out; so
    are images, where the source says which files are labels. Raises `BadInput` for a source that isn't there."""
    if source.is_file():
        found = _examined(source, source.name, {}, None)
        if found is None:
            raise BadInput(f"{source} is neither a DICOM SEG, an RT Structure Set, NIfTI, NRRD nor MetaImage")
        yield found
        return
    if not source.is_dir():
        raise BadInput(f"{source} isn't there")
    told, values = _manifest(source), _values(source)
    for path in _candidates(source, told):
        name = path.relative_to(source).as_posix()
        found = _examined(path, name, values, told.get(name))
        if found is not None:
            yield found


def _candidates(source: Path, told: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    if told:
        return [source / name for name in sorted(told) if (source / name).is_file()]
    folders = [source / name for name in _LABEL_FOLDERS if (source / name).is_dir()] or [source]
    files = (path for folder in folders for path in folder.rglob("*"))
    return sorted(path for path in files if path.is_file() and not path.name.startswith("."))


def _manifest(source: Path) -> dict[str, Mapping[str, Any]]:
    """What an export says of its label files, by path. A case's label is the first of its files."""
    content = _json(source / MANIFEST)
    try:
        names = {int(one["value"]): str(one["name"]) for one in content["structures"]}
        if content["ignore"] is not None:
            names[int(content["ignore"])] = "ignore"
        return {case["files"][0]: {**case, "values": names} for case in content["cases"] if case["files"]}
    except (LookupError, TypeError, ValueError):
        return {}


def _values(source: Path) -> dict[int, str]:
    """The names of voxel values in `dataset.json`: nnU-Net's `{"liver": 1}`, or the Decathlon's `{"1": "liver"}`."""
    labels = _json(source / "dataset.json").get("labels")
    if not isinstance(labels, dict):
        return {}
    found = {}
    for key, value in labels.items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        if str(number).isdigit() and int(number) > 0 and isinstance(name, str):
            found[int(number)] = name
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _examined(path: Path, name: str, values: Mapping[int, str], told: Mapping[str, Any] | None) -> MaskFile | None:
    """None if it is no file that may hold a mask."""
    if path.name.lower().endswith(_VOLUMES):
        return MaskFile(path, name, "volume", values=told["values"] if told else values, told=told)
    try:
        header = dcmread(path, stop_before_pixels=True)
        modality, uid = str(header.get("Modality", "")), str(header.get("SOPInstanceUID", ""))
        if modality == "RTSTRUCT":
            return MaskFile(path, name, "rtstruct", referenced_series(header), uid, told=told)
        if modality == "SEG":
            series = header.get("ReferencedSeriesSequence") or [header]
            return MaskFile(path, name, "seg", str(series[0].get("SeriesInstanceUID", "")), uid, told=told)
    except PARSER_ERRORS:
        return None
    return None
