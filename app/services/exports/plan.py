"""What an export holds: the labels that were chosen, their structures, and which patients are for validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from app.core.case import Case, CaseRow
from app.core.label import FINAL, Label, StructureState
from app.core.mask import Code
from app.dicom.codes import codes_of
from app.errors import BadInput
from app.learning.dataset import is_validation
from app.project.project import Project
from app.workspace import safe_name

OverlapRule = Literal["refuse", "order"]
"""What happens where structures overlap and a file has one value for each voxel: the case is left out, or the later
structure wins."""


@dataclass(frozen=True)
class ExportOptions:
    """What is exported: the newest label of each case under `tag`, in one of `app.services.exports.FORMATS`.

    `structures` are those that are exported, in the order of their values; all if empty. `modality` is that of
    volume files, instead of what their intensities suggest. `bids_suffix` is the BIDS suffix of MR images, such as
    "T1w"; if empty, each series' description has to say it.
    """

    format: str
    tag: str = FINAL
    structures: tuple[str, ...] = ()
    overlaps: OverlapRule = "refuse"
    modality: str = ""
    bids_suffix: str = ""


@dataclass(frozen=True)
class Structure:
    """An exported structure. `value` is its voxel value in label maps, from 1."""

    name: str
    value: int
    category: Code
    type: Code
    color: tuple[int, int, int] | None


@dataclass(frozen=True, eq=False)
class ExportCase:
    """A case with the label that is exported.

    `name` is the stem of its files. `patient` is a digest of the patient's key, the same in every export.
    `validation`: the gate measures models on this patient, so nothing may be trained on it.
    """

    name: str
    row: CaseRow
    label: Label
    patient: str
    validation: bool
    modality: str
    states: Mapping[str, StructureState]

    @property
    def partial(self) -> bool:
        """Whether an exported structure was not examined."""
        return "not_examined" in self.states.values()


@dataclass(frozen=True)
class Plan:
    """The cases in the archive's order, and their structures. `ignore` is the value, in label maps, of voxels of which
    nothing is known; None if there is no such voxel: no label is partial. `silent` are the ids of cases whose labels
    say nothing of these structures."""

    options: ExportOptions
    structures: tuple[Structure, ...]
    ignore: int | None
    cases: tuple[ExportCase, ...]
    silent: tuple[str, ...]

    def value_names(self) -> Iterator[tuple[int, str]]:
        """What each value in a label map means, ascending."""
        yield 0, "background"
        yield from ((one.value, one.name) for one in self.structures)
        if self.ignore is not None:
            yield self.ignore, "ignore"


def plan_of(project: Project, options: ExportOptions) -> Plan:
    """Raises `BadInput` if there is no label to export, or a structure that nobody has examined is asked for."""
    rows = {row.case.id: row for row in project.catalog.cases.all()}
    labels = {
        label.case_id: label for label, _ in project.catalog.labels.newest_of_all(options.tag) if label.case_id in rows
    }
    if not labels:
        raise BadInput(f"no case has a label tagged {options.tag!r}")
    names = _structures(project, options, list(labels.values()))
    reserved = project.catalog.reservations.patients()
    fold = project.settings.learning.validation_fold
    labelled = [
        ExportCase(
            name=safe_name(row.case.id),
            row=row,
            label=labels[row.case.id],
            patient=sha256(row.case.patient_key.encode()).hexdigest()[:12],
            validation=is_validation(row.case.patient_key, fold) or row.case.patient_key in reserved,
            modality=_modality(row.case, options),
            states={name: labels[row.case.id].states.get(name, "not_examined") for name in names},
        )
        for row in rows.values()
        if row.case.id in labels
    ]
    cases = tuple(case for case in labelled if set(case.states.values()) != {"not_examined"})
    silent = tuple(case.row.case.id for case in labelled if case not in cases)
    partial = any(case.partial for case in cases)
    structures = tuple(_structure(name, value, cases) for value, name in enumerate(names, start=1))
    return Plan(options, structures, len(names) + 1 if partial else None, cases, silent)


def _structures(project: Project, options: ExportOptions, labels: Sequence[Label]) -> list[str]:
    """The structures to export, in order: those that were asked for, or all that somebody examined."""
    examined = {name for label in labels for name in label.examined}
    if options.structures:
        unknown = [name for name in options.structures if name not in examined]
        if unknown or len(set(options.structures)) < len(options.structures):
            why = f"no label tagged {options.tag!r} says anything of {', '.join(unknown)}" if unknown else "named twice"
            raise BadInput(f"--structures: {why}; there are: {', '.join(sorted(examined))}")
        return list(options.structures)
    found = dict.fromkeys([*project.settings.labels.structures, *project.catalog.labels.structures()])
    found |= dict.fromkeys(segment.name for label in labels for segment in label.segments)
    return [name for name in found if name in examined]


def _structure(name: str, value: int, cases: Sequence[ExportCase]) -> Structure:
    """With the codes and colour of the newest label that has them."""
    newest_first = sorted((case.label for case in cases), key=lambda label: label.id, reverse=True)
    segment = next(segment for label in newest_first for segment in label.segments if segment.name == name)
    category, kind = codes_of(segment)
    return Structure(name, value, category, kind, segment.color)


def _modality(case: Case, options: ExportOptions) -> str:
    """What a DICOM series says of itself; of a volume file, whose own is a guess, what the options say first."""
    if case.kind == "file":
        return options.modality or case.modality
    return case.modality or options.modality
