"""Labels as label maps: one value for each voxel, the same structure by the same value in every case."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask
from app.errors import BadInput
from app.formats.volume_files import write_nifti, write_nifti_layers
from app.services.exports.files import OpenedCase
from app.services.exports.plan import OverlapRule, Plan


def label_map(mask: Mask, plan: Plan, *, partial: bool) -> NDArray[np.unsignedinteger]:
    """The values `(k, j, i)`: 0 where a voxel is in none of the plan's structures; with `partial`, `plan.ignore`
    instead, because it may be in one that was not examined.

    Raises `BadInput` for voxels of two structures, unless the options say that the later one wins.
    """
    dtype = np.uint8 if len(plan.structures) < 255 else np.uint16
    values = {one.name: one.value for one in plan.structures}
    outside = plan.ignore if partial and plan.ignore is not None else 0
    if not mask.overlapping:
        lookup = np.full(len(mask.segments) + 1, outside, dtype)
        for segment in mask.segments:
            lookup[segment.number] = values.get(segment.name, outside)
        return np.asarray(lookup[mask.layers[0]])
    answer = np.full(mask.geometry.shape, outside, dtype)
    free = np.ones(mask.geometry.shape, bool)
    for segment in sorted(mask.segments, key=lambda segment: values.get(segment.name, 0)):
        if segment.name in values:
            voxels = mask.voxels_of(segment.number)
            _check(answer[voxels & ~free], segment.name, plan, plan.options.overlaps)
            answer[voxels] = values[segment.name]
            free &= ~voxels
    return answer


def label_nifti(case: OpenedCase, plan: Plan) -> Callable[[BinaryIO], None]:
    """Writes the label map as compressed NIfTI."""

    def write(file: BinaryIO) -> None:
        values = label_map(case.mask, plan, partial=case.case.partial)
        write_nifti_layers(file, [values], case.volume.geometry, compress=True)

    return write


def image_nifti(case: OpenedCase) -> Callable[[BinaryIO], None]:
    """Writes the image as compressed NIfTI."""
    return lambda file: write_nifti(file, case.volume, compress=True)


def _check(covered: NDArray[np.unsignedinteger], name: str, plan: Plan, rule: OverlapRule) -> None:
    """`covered` are the values that a structure's voxels have already."""
    others = {one.name for one in plan.structures if one.value in np.unique(covered) and one.name != name}
    if others and rule == "refuse":
        raise BadInput(
            f"{name} overlaps {', '.join(sorted(others))}, and a label map has one value for each voxel: export as seg,"
            " nrrd or rtstruct, choose among them with --structures, or let the later structure win with"
            " --overlaps order"
        )
