"""What a case is called on the page: series are known by UIDs that nobody reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.core.case import Case
from app.errors import UnknownCase
from app.services.cases import CaseService
from app.services.prompting.images import PREFIX


@dataclass(frozen=True)
class CaseName:
    """`title` is short and what people say; `detail` tells the images of one patient apart, and may be empty."""

    id: str
    title: str
    detail: str


def name_of(case: Case) -> CaseName:
    if case.id.startswith(PREFIX):
        return CaseName(case.id, "an image that a viewer sent", "")
    said = (case.modality, case.description, case.body_part, _day(case.study_date))
    return CaseName(case.id, case.patient_id or case.id, " · ".join(word for word in said if word))


def names_of(cases: CaseService, case_ids: Iterable[str]) -> dict[str, CaseName]:
    """Names by id. A case that is no longer in the archive goes by its id."""
    return {case_id: _looked_up(cases, case_id) for case_id in dict.fromkeys(case_ids)}


def _looked_up(cases: CaseService, case_id: str) -> CaseName:
    try:
        return name_of(cases.get(case_id).case)
    except UnknownCase:
        return CaseName(case_id, case_id, "no longer here")


def _day(dicom_date: str) -> str:
    """`20240131` as `2024-01-31` (DICOM PS3.5 6.2, DA); anything else as it is."""
    if len(dicom_date) == 8 and dicom_date.isdigit():
        return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}"
    return dicom_date
