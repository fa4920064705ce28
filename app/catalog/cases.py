"""Cases, from the archive and from uploads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import repeat
from typing import Any

import sqlalchemy as sa

from app.catalog.database import Database
from app.catalog.schema import OPEN, case, label, note
from app.core.archive import Listing
from app.core.case import Case, CaseRow, Origin, Shows
from app.core.pool import Candidate
from app.errors import UnknownCase

_FIELDS = [c for c in case.c if c.name in Case.__dataclass_fields__]


class Cases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, case_id: str) -> CaseRow:
        """Raises `UnknownCase`."""
        query = sa.select(case).where(case.c.id == case_id, case.c.gone.is_(False))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownCase(
                f"no image {case_id!r} here; if it is new in the archive, wait for the next synchronization"
            )
        return _row(row)

    def of_series(self, series_uid: str) -> CaseRow:
        """The case that DICOMweb shows as this series. Raises `UnknownCase`."""
        query = sa.select(case).where(
            case.c.series_uid == series_uid, case.c.origin == "archive", case.c.gone.is_(False)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None or not series_uid:
            raise UnknownCase(f"no case is shown as the series {series_uid[:80]!r}")
        return _row(row)

    def not_shown(self, shows: Shows) -> frozenset[str]:
        """The ids of the cases to label that a viewer can't show."""
        if shows == "everything":
            return frozenset()
        no_study = case.c.series_uid == "" if shows == "dicomweb" else case.c.kind != "series"
        here = sa.and_(case.c.gone.is_(False), case.c.expires.is_(None))
        query = sa.select(case.c.id).where(here, sa.or_(no_study, case.c.origin == "upload"))
        with self._database.read() as connection:
            return frozenset(connection.scalars(query))

    def origin(self, case_id: str) -> Origin | None:
        """The origin of a case, also of one that is gone; None for an unknown one."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(case.c.origin).where(case.c.id == case_id))

    def all(self) -> list[CaseRow]:
        """The cases to label (not session uploads, not gone), in the archive's order."""
        query = sa.select(case).where(case.c.gone.is_(False), case.c.expires.is_(None)).order_by(case.c.position)
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(query)]

    def page(self, limit: int, offset: int, completed: bool | None, text: str) -> tuple[int, list[CaseRow]]:
        """The number of matching cases of `all`, and one page of them. `text` is searched without case in id,
        PatientID, description, modality and date; `completed` None matches both."""
        here: list[sa.ColumnElement[bool]] = [case.c.gone.is_(False), case.c.expires.is_(None)]
        if completed is not None:
            here.append(case.c.completed.is_(completed))
        if text:
            fields = (case.c.id, case.c.patient_id, case.c.description, case.c.modality, case.c.study_date)
            here.append(sa.or_(*(field.icontains(text, autoescape=True) for field in fields)))
        rows = sa.select(case).where(*here).order_by(case.c.position).limit(limit).offset(offset)
        with self._database.read() as connection:
            total = connection.scalar(sa.select(sa.func.count()).select_from(case).where(*here))
            return int(total or 0), [_row(row) for row in connection.execute(rows)]

    def counts(self) -> tuple[int, int]:
        """`(total, completed)` of the cases to label."""
        here = sa.and_(case.c.gone.is_(False), case.c.expires.is_(None), case.c.offered.is_(True))
        query = sa.select(sa.func.count(), sa.func.count().filter(case.c.completed.is_(True))).where(here)
        with self._database.read() as connection:
            total, completed = connection.execute(query).one()
        return int(total), int(completed)

    def unusable(self) -> list[CaseRow]:
        """Cases to label with a `problem`: they can't be opened. In the archive's order."""
        here = sa.and_(case.c.gone.is_(False), case.c.expires.is_(None), case.c.problem != "")
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(sa.select(case).where(here).order_by(case.c.position))]

    def candidates(self) -> list[Candidate]:
        """Cases to label without a final label, in the archive's order."""
        # A hot path: runs for every "next case", over up to ten thousand rows. So only few columns, from a covering
        # index, directly into named tuples.
        with self._database.read() as connection:
            rows = _all(connection, "SELECT id, patient_key FROM case_ WHERE " + OPEN + " ORDER BY position")  # noqa: S608 - our own words
            served = dict(_all(connection, "SELECT id, served FROM case_ WHERE served > 0"))
        if not rows:
            return []
        ids, patients = zip(*rows, strict=True)
        columns = zip(ids, patients, range(len(ids)), map(served.get, ids, repeat(0.0)), strict=False)
        return list(map(partial(tuple.__new__, Candidate), columns))

    def labelled_patients(self) -> frozenset[str]:
        query = sa.select(case.c.patient_key).where(case.c.completed.is_(True)).distinct()
        with self._database.read() as connection:
            return frozenset(connection.scalars(query))

    def apply(self, listing: Listing, cursor_key: str) -> None:
        """Apply a listing of the archive and store its cursor, in one transaction.

        Removed cases are only marked as gone: labels and scores stay, and the mark is cleared when the archive lists
        the case again.
        """
        with self._database.write() as connection:
            for one in listing.cases:
                _upsert(connection, one, "archive", expires=None, offered=True)
            gone = list(listing.gone)
            if listing.complete:
                listed = {one.id for one in listing.cases}
                known = connection.scalars(sa.select(case.c.id).where(case.c.origin == "archive"))
                gone += [known_id for known_id in known if known_id not in listed]
            for some in _chunks(gone, 500):
                connection.execute(
                    sa.update(case).where(case.c.id.in_(some), case.c.origin == "archive").values(gone=True)
                )
            connection.execute(sa.delete(note).where(note.c.key == cursor_key))
            connection.execute(sa.insert(note).values(key=cursor_key, value=listing.cursor))

    def add_upload(self, one: Case, expires: float | None, offered: bool) -> None:
        """Add an image that a client sent. With an expiry it is a session upload, and never a case to label."""
        with self._database.write() as connection:
            _upsert(connection, one, "upload", expires=expires, offered=offered and expires is None)

    def add_missing(self, one: Case, origin: Origin) -> None:
        """Add a case that isn't known, not even as one that is gone. The next listing of the archive completes it."""
        with self._database.write() as connection:
            if connection.scalar(sa.select(case.c.position).where(case.c.id == one.id)) is None:
                _upsert(connection, one, origin, expires=None, offered=True)

    def cursor(self, key: str) -> str | None:
        with self._database.read() as connection:
            return connection.scalar(sa.select(note.c.value).where(note.c.key == key))

    def mark_problem(self, case_id: str, problem: str) -> None:
        """Record why a case can't be opened. It isn't offered until its images change."""
        self._set(case_id, problem=problem)

    def mark_warnings(self, case_id: str, warnings: Iterable[str]) -> None:
        self._set(case_id, warnings=list(warnings))

    def set_info(self, case_id: str, info: Mapping[str, Any]) -> None:
        self._set(case_id, info=dict(info))

    def set_expiry(self, case_id: str, expires: float | None) -> None:
        self._set(case_id, expires=expires)

    def expired(self, now: float) -> list[Case]:
        query = sa.select(case).where(case.c.expires <= now, case.c.gone.is_(False))
        with self._database.read() as connection:
            return [_row(row).case for row in connection.execute(query)]

    def remove(self, case_id: str) -> None:
        """Mark a case as gone. Its labels stay."""
        self._set(case_id, gone=True)

    def _set(self, case_id: str, **values: object) -> None:
        with self._database.write() as connection:
            done = connection.execute(sa.update(case).where(case.c.id == case_id).values(**values))
            if done.rowcount == 0:
                raise UnknownCase(f"no image {case_id!r} here")


def _all(connection: sa.Connection, query: str) -> Sequence[Any]:
    """The rows of a query as plain tuples, without SQLAlchemy's own row objects."""
    cursor = connection.exec_driver_sql(query).cursor
    return [] if cursor is None else cursor.fetchall()


def mark_served(connection: sa.Connection, case_id: str, strategy: str, client: str) -> None:
    """Record that a strategy offers the case to a client now, within the transaction that claims it."""
    now = time.time()
    served_by = dict(connection.scalar(sa.select(case.c.served_by).where(case.c.id == case_id)) or {})
    served_by[strategy] = {"ts": int(now), "client_id": client}
    connection.execute(sa.update(case).where(case.c.id == case_id).values(served=now, served_by=served_by))


def refresh_completed(connection: sa.Connection, case_id: str, final_tag: str) -> None:
    """Update a case's `completed` from its labels, within the transaction that changed them."""
    finals = sa.select(label.c.id).where(
        label.c.case_id == case_id, label.c.tag == final_tag, label.c.deleted.is_(False)
    )
    connection.execute(sa.update(case).where(case.c.id == case_id).values(completed=sa.exists(finals)))


def _upsert(connection: sa.Connection, one: Case, origin: Origin, expires: float | None, offered: bool) -> None:
    values = {**asdict(one), "warnings": list(one.warnings), "patient_key": one.patient_key}
    values |= {"origin": origin, "gone": False, "expires": expires, "offered": offered}
    known = connection.execute(sa.select(case.c.stamp).where(case.c.id == one.id)).one_or_none()
    if known is None:
        values |= {"first_seen": time.time(), "served_by": {}, "info": {}}
        connection.execute(sa.insert(case).values(**values))
        return
    if known.stamp == one.stamp:
        del values["warnings"]  # set when the images were read, which haven't changed
    else:
        values["problem"] = ""
    connection.execute(sa.update(case).where(case.c.id == one.id).values(**values))


def _row(row: sa.Row[Any]) -> CaseRow:
    values = row._mapping
    fields = {column.name: values[column.name] for column in _FIELDS}
    fields["warnings"] = tuple(fields["warnings"])
    return CaseRow(
        case=Case(**fields),
        origin=values["origin"],
        problem=values["problem"],
        first_seen=values["first_seen"],
        served_by=values["served_by"],
        info=values["info"],
        completed=values["completed"],
        offered=values["offered"],
        expires=values["expires"],
    )


def _chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
