"""Listing the series of an Orthanc through its REST API, which uses its database; its QIDO opens a file per series.

`/changes` takes a millisecond when nothing changed, `/tools/find` a twentieth of a QIDO search for everything. Needs
Orthanc 1.9.4 or later (`/tools/bulk-content`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.archives.dicomweb.options import DicomwebOptions
from app.archives.dicomweb.session import ArchiveSession, answers_wanted, refusal
from app.core.case import Case
from app.errors import ArchiveUnavailable, BadInput

CHANGES_A_CALL = 2000
MANY_CHANGES = 20_000
"""With more changes than this, listing everything is cheaper."""
IDS_A_CALL = 1000
SERIES_A_CALL = 1000
"""Each comes with the ids of its instances: about 13 kB for 300 of them."""


@dataclass(frozen=True)
class State:
    """The position in the list of changes, and the number of instances then."""

    change: int
    instances: int


@dataclass(frozen=True)
class Changed:
    """Orthanc's ids of the series and instances that are new or changed."""

    state: State
    series: frozenset[str]
    instances: frozenset[str]


class Orthanc:
    """Orthanc's REST API at `url`."""

    def __init__(self, url: str, session: ArchiveSession, options: DicomwebOptions) -> None:
        self._url, self._session, self._options = url.rstrip("/"), session, options

    def version(self) -> str | None:
        """Its version; None if the service isn't an Orthanc, or doesn't give us access."""
        try:
            with answers_wanted(self._url):
                answer = self._session.get(f"{self._url}/system")
                system = answer.json() if answer.status_code == 200 else None
        except ArchiveUnavailable:
            return None
        if not isinstance(system, dict) or "ApiVersion" not in system or "DatabaseVersion" not in system:
            return None
        return str(system.get("Version", "unknown"))

    def state(self) -> State:
        # In this order, a change in between makes the next comparison of counts fail, which lists everything again.
        change = int(self._get("/changes?last").get("Last", 0))
        return State(change, int(self._get("/statistics")["CountInstances"]))

    def changed(self, since: State) -> Changed | None:
        """What is new or changed since `since`; None if everything must be listed, after deletions or many changes.

        Orthanc doesn't list deletions, and removes a resource's changes with the resource. They show in the number of
        instances, which is then lower than before plus the new ones.
        """
        now = self.state()
        if now.change - since.change not in range(MANY_CHANGES):
            return None
        series, instances = set(), set()
        at = since.change
        while at < now.change:
            page = self._get(f"/changes?since={at}&limit={CHANGES_A_CALL}")
            for change in page.get("Changes", ()):
                if change.get("ResourceType") == "Series":
                    series.add(str(change["ID"]))
                elif change.get("ChangeType") == "NewInstance":
                    instances.add(str(change["ID"]))
            if int(page["Last"]) <= at:
                break
            at = int(page["Last"])
        if now.instances != since.instances + len(instances):
            return None
        return Changed(State(max(at, now.change), now.instances), frozenset(series), frozenset(instances))

    def series_uids(self, changed: Changed) -> list[str]:
        """The SeriesInstanceUIDs of what changed and still exists."""
        found = [*self._bulk(sorted(changed.series), "Series"), *self._bulk(sorted(changed.instances), "Series")]
        uids = {str(item.get("MainDicomTags", {}).get("SeriesInstanceUID", "")) for item in found}
        return sorted(uids - {""})

    def cases(self, series_uids: Sequence[str] | None = None) -> list[Case]:
        """The series that are cases: all, or those among `series_uids`."""
        query = {**self._options.filter, "Modality": "\\".join(self._options.modalities)}
        if series_uids is None:
            found = self._find(query)
        else:
            found = []
            for some in _batches(series_uids, 100):
                found += self._find({**query, "SeriesInstanceUID": "\\".join(some)})
        studies = {item["ID"]: item for item in self._bulk(sorted({str(s["ParentStudy"]) for s in found}), "Study")}
        cases = (_case_of(series, studies.get(series["ParentStudy"], {})) for series in found)
        return [case for case in cases if case is not None]

    def _find(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The series that meet a query, page by page."""
        found: dict[str, dict[str, Any]] = {}
        while len(found) <= self._options.max_series:
            asked = {"Level": "Series", "Expand": True, "Query": dict(query)}
            page = self._post("/tools/find", {**asked, "Limit": SERIES_A_CALL, "Since": len(found)})
            before = len(found)
            found |= {str(series["ID"]): series for series in page}
            # Without anything new the pages moved, or this Orthanc ignores "Since".
            if len(page) < SERIES_A_CALL or len(found) == before:
                return list(found.values())
        raise ArchiveUnavailable(f"the archive lists more than {self._options.max_series} series")

    def _bulk(self, ids: Sequence[str], level: str) -> Iterator[dict[str, Any]]:
        """The resources `ids`, or their parents at `level`; those that no longer exist are left out."""
        for some in _batches(ids, IDS_A_CALL):
            body = {"Resources": list(some), "Level": level, "Metadata": False}
            yield from (item for item in self._post("/tools/bulk-content", body) if isinstance(item, dict))

    def _get(self, path: str) -> Any:
        with answers_wanted(self._url):
            answer = self._session.get(self._url + path)
            if answer.status_code != 200:
                raise refusal(answer.url, answer.status_code)
            return answer.json()

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        with answers_wanted(self._url):
            answer = self._session.post(self._url + path, json=body)
            if answer.status_code != 200:
                raise refusal(answer.url, answer.status_code)
            return answer.json()


def _case_of(series: Mapping[str, Any], study: Mapping[str, Any]) -> Case | None:
    """The frame of reference stays empty: Orthanc's database doesn't keep it by default."""
    from app.dicom.values import check_uid

    tags, above = series.get("MainDicomTags", {}), study.get("MainDicomTags", {})
    try:
        uid = check_uid(str(tags.get("SeriesInstanceUID", "")))
        study_uid = check_uid(str(above.get("StudyInstanceUID", "")))
    except BadInput:
        return None
    count = len(series.get("Instances", ()))
    return Case(
        id=uid,
        kind="series",
        stamp=f"{count}-{series.get('LastUpdate', '')}",
        patient_id=str(study.get("PatientMainDicomTags", {}).get("PatientID", "")).strip(),
        study_uid=study_uid,
        series_uid=uid,
        modality=str(tags.get("Modality", "")),
        description=str(tags.get("SeriesDescription", "")),
        body_part=str(tags.get("BodyPartExamined", "")),
        manufacturer=str(tags.get("Manufacturer", "")),
        study_date=str(above.get("StudyDate", "")),
        study_time=str(above.get("StudyTime", "")),
        instances=count,
    )


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
