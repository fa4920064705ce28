"""Finding the case that an image is of which a viewer sent: by its voxels, the only thing every viewer sends."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np

from app.core.case import CaseRow
from app.core.fingerprint import fingerprint
from app.core.orientation import Orientation, orientation_between
from app.core.volume import Volume
from app.errors import SegloopError
from app.project.project import Project
from app.services.cases import CaseService

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Match:
    """`orientation` turns arrays on the sent image's grid into arrays on the case's."""

    case_id: str
    orientation: Orientation


@dataclass(frozen=True)
class Matcher:
    project: Project
    cases: CaseService

    def find(self, image: Volume, placed: bool) -> Match | None:
        """The archive's case with the voxels of `image`, whatever their order; None if there is none.

        Cases that were never opened are opened for this, those that can have as many voxels, within the time of the
        settings (`sessions.match_seconds`). Among several with the same voxels the one at the same place counts, if the
        image's geometry is real (`placed`), else the first.
        """
        value = fingerprint(image.voxels)
        found = self._among(self.project.catalog.fingerprints.cases_with(value), image, placed)
        deadline = time.monotonic() + self.project.settings.sessions.match_seconds
        for case_id in self.project.catalog.fingerprints.unknown():
            if found is not None or time.monotonic() > deadline:
                break
            if self._could_be(self.cases.get(case_id), image) and self._learn(case_id) == value:
                found = self._among([case_id], image, placed)
        return found

    def _could_be(self, row: CaseRow, image: Volume) -> bool:
        """Whether a series has as many images as an axis is long; what is multi-frame, or a file, may fit anyway."""
        instances = row.case.instances
        return row.case.kind == "file" or instances <= 1 or instances in image.geometry.shape

    def _learn(self, case_id: str) -> str:
        """A case's digest, noted; "" if its images can't be had."""
        row = self.cases.get(case_id)
        try:
            value = fingerprint(self.cases.open(row).voxels)
        except SegloopError as error:
            logger.info("%s can't be compared with a sent image: %s", case_id, error)
            return ""
        self.project.catalog.fingerprints.note(case_id, row.case.stamp, value)
        return value

    def _among(self, case_ids: list[str], image: Volume, placed: bool) -> Match | None:
        first: Match | None = None
        given = np.asarray(image.voxels, np.float32)
        for case_id in case_ids:
            volume = self.cases.volume(case_id)
            orientation = orientation_between(given, np.asarray(volume.voxels, np.float32))
            if orientation is None:
                continue
            match = Match(case_id, orientation)
            if not placed or _at_the_same_place(image, volume, orientation):
                return match
            first = first or match
        return first


def _at_the_same_place(image: Volume, case: Volume, orientation: Orientation) -> bool:
    """Whether the case's first and last voxel lie where the image has them, within a tenth of a voxel."""
    shape = image.geometry.shape
    for corner in ((0, 0, 0), tuple(n - 1 for n in case.geometry.shape)):
        index = [0, 0, 0]
        for axis, (source, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
            index[source] = shape[source] - 1 - corner[axis] if flip else corner[axis]
        offset = np.subtract(image.geometry.to_patient(index), case.geometry.to_patient(corner))
        if float(np.linalg.norm(offset)) > 0.1 * min(case.geometry.spacing):
            return False
    return True
