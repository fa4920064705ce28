"""Where labelled cases come from: phantoms, volume files with labels, or the final labels of a project."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from app.core.mask import Mask
from app.core.volume import Volume
from app.errors import BadInput, BadOption
from app.learning.dataset import labelled_cases
from app.project.project import Project
from app.settings import Settings
from app.simulation.cases import Case, read_cases


@dataclass(frozen=True, eq=False)
class LabelledCase:
    """An image and the truth about it, on the same grid. `kind` is what sort of case it is, for reports."""

    id: str
    patient: str
    volume: Volume
    mask: Mask
    kind: str = ""


@dataclass(frozen=True)
class Split:
    """`pool`: the cases to be labelled. `test`: cases of other patients."""

    pool: Sequence[LabelledCase]
    test: Sequence[LabelledCase]

    @property
    def structures(self) -> tuple[str, ...]:
        """The names of all segments of the pool, in order of first use."""
        return tuple(dict.fromkeys(segment.name for one in self.pool for segment in one.mask.segments))


class Source(Protocol):
    """Labelled cases for each seed. Can be pickled: runs are done in several processes."""

    def split(self, seed: int) -> Split:
        """The same for the same seed. Raises `BadInput` without cases to learn from or to be tested on."""


@dataclass(frozen=True)
class Files:
    """Volume files and their labels, as `app.simulation.cases.read_cases`; all are held in memory.

    Each value of the labels is a structure, named by it, which was looked for in every file. `patient` is a regular
    expression whose first group, where it matches a file's name, is the patient; without one, every file is of another
    patient. A share `test_share` of the patients are for testing, drawn by the seed.
    """

    images: Path
    labels: Path | None
    patient: str
    test_share: float

    def split(self, seed: int) -> Split:
        """See `Source.split`. Raises also what `read_cases` raises, and `BadOption`."""
        cases = list(read_cases(self.images, self.labels))
        values = sorted({value for one in cases for value in one.structures(min_voxels=1)})
        return _by_patient([self._labelled(one, values) for one in cases], self.test_share, seed)

    def _labelled(self, case: Case, values: Sequence[int]) -> LabelledCase:
        numbered = np.searchsorted([0, *values], case.labels).astype(np.uint16)
        mask = Mask.single(numbered, [str(value) for value in values], case.volume.geometry)
        try:
            found = re.search(self.patient, case.name) if self.patient else None
            patient = found[1] if found else case.name
        except (re.error, IndexError) as error:
            raise BadOption(f"{self.patient!r} should be a regular expression with one group: {error}") from error
        return LabelledCase(case.name, patient, case.volume, mask)


@dataclass(frozen=True)
class Labelled:
    """The cases of a project that have a final label, with that label; all are held in memory."""

    settings: Settings
    test_share: float

    def split(self, seed: int) -> Split:
        """See `Source.split`. Raises also what reading the archive raises."""
        project = Project.open(self.settings)
        try:
            cases = []
            for one in (case for case in labelled_cases(project) if case.label.examined):
                volume, whole = one.open(project)
                mask = whole.keeping([s.number for s in whole.segments if s.name in one.label.examined])
                cases.append(
                    LabelledCase(one.row.case.id, one.row.case.patient_key, volume, mask, one.row.case.modality)
                )
        finally:
            project.close()
        return _by_patient(cases, self.test_share, seed)


def _by_patient(cases: Sequence[LabelledCase], test_share: float, seed: int) -> Split:
    patients = sorted({one.patient for one in cases})
    if len(patients) < 2:
        raise BadInput(f"there are labelled cases of {len(patients)} patients; at least two are needed")
    count = min(len(patients) - 1, max(1, round(test_share * len(patients))))
    test = {patients[index] for index in np.random.default_rng(seed).permutation(len(patients))[:count]}
    return Split([one for one in cases if one.patient not in test], [one for one in cases if one.patient in test])
