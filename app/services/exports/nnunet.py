"""nnU-Net's raw dataset (nnU-Net v2, documentation/dataset_format.md and ignore_label.md).

dataset.json, imagesTr/NAME_0000.nii.gz, labelsTr/NAME.nii.gz
splits_final.json    the gate's patients as the validation set; nnU-Net reads it beside the preprocessed data
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from app.errors import BadInput
from app.services.exports.files import ExportFile, OpenedCase, json_bytes
from app.services.exports.labelmaps import image_nifti, label_nifti
from app.services.exports.plan import ExportCase, Plan

FOLDER_NAME = re.compile(r"Dataset\d{3}_.+")


class NnunetExport:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        name = case.case.name
        yield ExportFile(f"labelsTr/{name}.nii.gz", "label", label_nifti(case, self._plan))
        yield ExportFile(f"imagesTr/{name}_0000.nii.gz", "image", _image(case))

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        labels = {name: value for value, name in self._plan.value_names()}
        described = {
            "channel_names": {"0": channel(cases)},
            "labels": labels,
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
        }
        yield "dataset.json", json_bytes(described, sort=False)
        sides: dict[str, list[str]] = {"train": [], "val": []}
        for case in cases:
            sides["val" if case.validation else "train"].append(case.name)
        if all(sides.values()):
            yield "splits_final.json", json_bytes([sides])

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        if len({case.modality for case in cases} - {""}) > 1:
            yield "the images are of several modalities, so nnU-Net is told of a channel 'image'"
        elif channel(cases) == "image":
            yield "nothing says what the images are, and nnU-Net normalizes CT in its own way: --modality CT"


def channel(cases: Sequence[ExportCase]) -> str:
    """The modality of all cases; "image" if they differ or don't say it."""
    modalities = {case.modality for case in cases}
    return modalities.pop() if len(modalities) == 1 and "" not in modalities else "image"


def refuse_sheared(case: OpenedCase, reader: str) -> None:
    """Raise `BadInput` for tilted slices, which ITK's NIfTI reader refuses."""
    direction = case.volume.geometry.direction
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise BadInput(f"its slices are tilted (gantry tilt), and {reader} can't read such files; export it as nrrd")


def _image(case: OpenedCase) -> Callable[[BinaryIO], None]:
    write = image_nifti(case)

    def checked(file: BinaryIO) -> None:
        refuse_sheared(case, "nnU-Net, with SimpleITK,")
        voxels = case.volume.voxels
        if voxels.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in voxels):
            raise BadInput("the image has voxels that aren't finite numbers, which nnU-Net refuses")
        write(file)

    return checked
