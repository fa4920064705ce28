"""The layout of the Medical Segmentation Decathlon (Antonelli et al. 2022), as MONAI's `load_decathlon_datalist` and
nnU-Net's converter read it: dataset.json, imagesTr/NAME.nii.gz, labelsTr/NAME.nii.gz.

`validation` isn't in the Decathlon's own files; MONAI reads it by that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.services.exports.files import ExportFile, OpenedCase, json_bytes
from app.services.exports.labelmaps import image_nifti, label_nifti
from app.services.exports.nnunet import channel
from app.services.exports.plan import ExportCase, Plan


class MsdExport:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        name = case.case.name
        yield ExportFile(f"labelsTr/{name}.nii.gz", "label", label_nifti(case, self._plan))
        yield ExportFile(f"imagesTr/{name}.nii.gz", "image", image_nifti(case))

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        sides: dict[bool, list[dict[str, str]]] = {False: [], True: []}
        for case in cases:
            file = f"{case.name}.nii.gz"
            sides[case.validation].append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
        described = {
            "name": "segloop",
            "description": "exported by segloop",
            "tensorImageSize": "3D",
            "modality": {"0": channel(cases)},
            "labels": {str(value): name for value, name in self._plan.value_names()},
            "numTraining": len(sides[False]),
            "numTest": 0,
            "training": sides[False],
            "validation": sides[True],
            "test": [],
        }
        yield "dataset.json", json_bytes(described, sort=False)

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        if self._plan.ignore is not None:
            yield (
                f"{self._plan.ignore} stands for voxels of which nothing is known (ignore); the Decathlon has no such"
                " value, so a program has to be told of it"
            )
