"""labels.csv: a row for each structure of each label, with its size, its place and the image's values in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Volume
from app.services.exports.effort import Effort, Efforts
from app.services.exports.files import ExportFile, OpenedCase
from app.services.exports.plan import ExportCase, Plan, Structure


@dataclass(frozen=True)
class Measured:
    """A structure in an image. `volume_ml` counts whole voxels. `extent_*` is the size in millimetres of the smallest
    box of voxels along the image's own axes (columns, rows, slices), and `first_*`, `last_*` its voxel indices. `mean`
    to `maximum` are of the image's values (HU for CT) in the structure. None where there is no such thing: nothing is
    known of a structure that was not examined, and one without voxels has no place."""

    voxels: int | None = None
    volume_ml: float | None = None
    extent_i_mm: float | None = None
    extent_j_mm: float | None = None
    extent_k_mm: float | None = None
    first_i: int | None = None
    last_i: int | None = None
    first_j: int | None = None
    last_j: int | None = None
    first_k: int | None = None
    last_k: int | None = None
    mean: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    median: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Facts:
    """Which structure of which label it is."""

    case: str
    patient: str
    modality: str
    tag: str
    version: int
    author: str
    model: str
    model_version: str
    created: str
    validation: bool
    structure: str
    code: str
    state: str


@dataclass(frozen=True)
class Row:
    """One line of the table. `effort` is that of the whole label."""

    facts: Facts
    measured: Measured
    effort: Effort | None

    def cells(self) -> dict[str, object]:
        effort = asdict(self.effort) if self.effort is not None else {}
        return {**asdict(self.facts), **asdict(self.measured), **effort}


COLUMNS = tuple(field.name for kind in (Facts, Measured, Effort) for field in fields(kind))


class TableExport:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rows: dict[str, list[Row]] = {}
        self._efforts: Efforts | None = None

    def files(self, case: OpenedCase) -> Iterator[ExportFile]:
        if self._efforts is None:
            self._efforts = Efforts(case.project)
        effort = self._efforts.of(case.case.label)
        self._rows[case.case.row.case.id] = [
            Row(_facts(case.case, structure), _measured(case, structure.name), effort)
            for structure in self._plan.structures
        ]
        return iter(())

    def summary(self, cases: Sequence[ExportCase]) -> Iterator[tuple[str, bytes]]:
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        for case in cases:
            table.writerows(row.cells() for row in self._rows[case.row.case.id])
        yield "labels.csv", text.getvalue().encode()

    def notes(self, cases: Sequence[ExportCase]) -> Iterator[str]:
        return iter(())


def _facts(case: ExportCase, structure: Structure) -> Facts:
    label = case.label
    return Facts(
        case=case.row.case.id,
        patient=case.patient,
        modality=case.modality,
        tag=label.tag,
        version=label.number,
        author=label.author,
        model=label.model,
        model_version=label.model_version,
        created=label.created.isoformat(timespec="seconds"),
        validation=case.validation,
        structure=structure.name,
        code=f"{structure.type.scheme} {structure.type.value}",
        state=case.states[structure.name],
    )


def _measured(case: OpenedCase, structure: str) -> Measured:
    if case.case.states[structure] != "segmented":
        absent = case.case.states[structure] == "absent"
        return Measured(voxels=0, volume_ml=0.0) if absent else Measured()
    mask, found = case.mask, np.zeros(case.mask.geometry.shape, bool)
    for segment in mask.segments:
        if segment.name == structure:
            found |= mask.voxels_of(segment.number)
    return measured(found, case.volume)


def measured(voxels: NDArray[np.bool_], volume: Volume) -> Measured:
    """What is measured of voxels `(k, j, i)`, at least one, in an image. Values that aren't finite don't count."""
    count = int(np.count_nonzero(voxels))
    of_one = abs(float(np.linalg.det(volume.geometry.affine[:3, :3])))
    spans = [np.flatnonzero(voxels.any(axis=others)) for others in ((0, 1), (0, 2), (1, 2))]
    (i0, i1), (j0, j1), (k0, k1) = ((int(span[0]), int(span[-1])) for span in spans)
    i, j, k = volume.geometry.spacing
    values = volume.voxels[voxels].astype(np.float64)
    values = values[np.isfinite(values)]
    known = values.size > 0
    return Measured(
        voxels=count,
        volume_ml=round(count * of_one / 1000, 6),
        extent_i_mm=round((i1 - i0 + 1) * i, 4),
        extent_j_mm=round((j1 - j0 + 1) * j, 4),
        extent_k_mm=round((k1 - k0 + 1) * k, 4),
        first_i=i0,
        last_i=i1,
        first_j=j0,
        last_j=j1,
        first_k=k0,
        last_k=k1,
        mean=round(float(values.mean()), 4) if known else None,
        deviation=round(float(values.std()), 4) if known else None,
        minimum=round(float(values.min()), 4) if known else None,
        median=round(float(np.median(values)), 4) if known else None,
        maximum=round(float(values.max()), 4) if known else None,
    )
