"""Which patients are for validation: those of the fold, and before that is enough, others that are reserved."""

from __future__ import annotations

from collections.abc import Sequence

from app.learning.dataset import Labelled, is_validation
from app.project.project import Project


def reserve_patients(project: Project, cases: Sequence[Labelled]) -> frozenset[str]:
    """The reserved patients, after reserving those that are missing.

    Of two labelled patients one is for validation, and later at least one in `learning.validation_fold`. The fold alone
    leaves five patients without any in one project of three. Only patients that no version was trained on can be
    reserved, in the order of `cases`, and never the first one, so that there is somebody to learn from.
    """
    fold = project.settings.learning.validation_fold
    reservations = project.catalog.reservations
    wanted = project.settings.labels.structures
    patients = list(dict.fromkeys(one.row.case.patient_key for one in cases if one.label.examined.intersection(wanted)))
    reserved = reservations.patients()
    kept = {patient for patient in patients if patient in reserved or is_validation(patient, fold)}
    missing = max(1, len(patients) // fold) - len(kept) if len(patients) > 1 else 0
    if missing > 0:
        taken = kept | _trained_on(project)
        free = [patient for patient in patients[1:] if patient not in taken]
        reservations.add(free[:missing])
        reserved |= frozenset(free[:missing])
    return reserved


def _trained_on(project: Project) -> set[str]:
    """The patients whose labels some version was made from, validation patients included."""
    label_ids = {number for version in project.catalog.versions.listed() for number in version.label_ids}
    cases = {row.case.id: row.case.patient_key for row in project.catalog.cases.all()}
    labels = project.catalog.labels.all_versions()
    return {cases[label.case_id] for label in labels if label.id in label_ids and label.case_id in cases}
