"""Finding the archive's case of an image that a viewer sent, by its voxels: no viewer sends an id, all send voxels."""

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
    """Finds cases by the fingerprints of their voxels. Thread-safe."""

    project: Project
    cases: CaseService

    def find(self, image: Volume, placed: bool) -> Match | None:
        """The archive's case with the voxels of `image`, in any axis order; None if there is none.

        Cases without a fingerprint whose size may fit are opened to compute it, until the time limit
        `sessions.match_seconds`. Among several matches, the one at the same position in the patient is chosen if the
        image came with its geometry (`placed`), else the first.
        """
        value = fingerprint(image.voxels)
        found = self._among(self.project.catalog.fingerprints.cases_with(value), image, placed)
        deadline = time.monotonic() + self.project.settings.sessions.match_seconds
        for case_id in self.project.catalog.fingerprints.unknown():
            if found is not None or time.monotonic() > deadline:
                break
            if self._may_match(self.cases.get(case_id), image) and self._fingerprint(case_id) == value:
                found = self._among([case_id], image, placed)
        return found

    def _may_match(self, row: CaseRow, image: Volume) -> bool:
        """Whether the number of instances fits one of the image's axes; always for multi-frame series and files."""
        instances = row.case.instances
        return row.case.kind == "file" or instances <= 1 or instances in image.geometry.shape

    def _fingerprint(self, case_id: str) -> str:
        """Compute and store a case's fingerprint; "" if its images can't be read."""
        row = self.cases.get(case_id)
        try:
            value = fingerprint(self.cases.open(row).voxels)
        except SegloopError as error:
            logger.info("case %s can't be compared with a sent image: %s", case_id, error)
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
    """Whether the first and last voxel have the same position in the patient, within a tenth of a voxel."""
    shape = image.geometry.shape
    for corner in ((0, 0, 0), tuple(n - 1 for n in case.geometry.shape)):
        index = [0, 0, 0]
        for axis, (source, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
            index[source] = shape[source] - 1 - corner[axis] if flip else corner[axis]
        offset = np.subtract(image.geometry.to_patient(index), case.geometry.to_patient(corner))
        if float(np.linalg.norm(offset)) > 0.1 * min(case.geometry.spacing):
            return False
    return True
