"""Label versions, append-only. Deleting sets a tombstone; file and row stay."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from app.catalog.audit import Audit
from app.catalog.cases import refresh_completed
from app.catalog.database import Database
from app.catalog.schema import label, lease, outbox
from app.core.label import FINAL, ORIGINAL, Contribution, Label, StructureState, Submission
from app.core.mask import Code, Segment
from app.errors import Conflict, UnknownLabel

RETRY_WINDOW = 24 * 3600.0
"""Seconds in which the same bytes from the same author count as a retry."""


@dataclass(frozen=True)
class NewLabel:
    """A label that isn't a version yet; the fields are those of `Label`."""

    case_id: str
    submission: Submission
    segments: tuple[Segment, ...]
    states: Mapping[str, StructureState]
    submitted_sha256: str

    @property
    def tag(self) -> str:
        return self.submission.tag


@dataclass(frozen=True)
class StoredFile:
    """The file of a new version, already durable. `path` is relative to the label store."""

    path: str
    sha256: str
    sop_instance_uid: str


class Labels:
    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    def find_retry(self, new: NewLabel) -> Label | None:
        """The existing version if this submission is a retry; None if it is new."""
        with self._database.read() as connection:
            return _find_retry(connection, new)

    def next_number(self, case_id: str, tag: str) -> int:
        """The number for the next version, unless a concurrent writer takes it first."""
        with self._database.read() as connection:
            return _next_number(connection, case_id, tag)

    def append(self, new: NewLabel, number: int, stored: StoredFile, deliver: bool) -> Label:
        """Add a version: row, audit row, outbox row and the case's state in one transaction.

        The file must be durable before; if the transaction fails, it is an orphan. Idempotent: a retry returns the
        existing version. Raises `Conflict` if a concurrent writer took the number: write the file again with the next
        one.
        """
        with self._database.write() as connection:
            known = _find_retry(connection, new)
            if known is not None:
                return known
            if _next_number(connection, new.case_id, new.tag) != number:
                raise Conflict(f"version {number} of this label was just created by another submission")
            inserted = _insert(connection, new, number, stored, time.time(), deliver)
            detail = {"tag": new.tag, "number": number, "sha256": stored.sha256, "model": new.submission.model}
            self._audit.record(connection, new.submission.author, "label.submit", new.case_id, detail)
            return _label(inserted)

    def rebuild(self, new: NewLabel, number: int, stored: StoredFile, created: float, deliver: bool) -> Label:
        """Add the row of a version whose file was found without one. Raises `Conflict` if another file is this version
        already."""
        with self._database.write() as connection:
            same = (label.c.case_id == new.case_id, label.c.tag == new.tag, label.c.number == number)
            if connection.scalar(sa.select(label.c.id).where(*same)) is not None:
                raise Conflict(f"another file is version {number} of this label")
            inserted = _insert(connection, new, number, stored, created, deliver)
            detail = {"tag": new.tag, "number": number, "sha256": stored.sha256, "author": new.submission.author}
            self._audit.record(connection, "segloop fsck", "label.rebuild", new.case_id, detail)
            return _label(inserted)

    def by_id(self, label_id: int) -> Label:
        with self._database.read() as connection:
            row = connection.execute(sa.select(label).where(label.c.id == label_id)).one_or_none()
        if row is None:
            raise UnknownLabel(f"no label number {label_id}")
        return _label(row)

    def newest(self, case_id: str, tag: str) -> Label:
        """The newest version under a tag. Raises `UnknownLabel`."""
        query = (
            sa.select(label)
            .where(label.c.case_id == case_id, label.c.tag == tag, label.c.deleted.is_(False))
            .order_by(label.c.number.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownLabel(f"image {case_id!r} has no label tagged {tag!r}")
        return _label(row)

    def history(self, case_id: str) -> list[Label]:
        """All versions of a case, deleted ones too, oldest first."""
        query = sa.select(label).where(label.c.case_id == case_id).order_by(label.c.id)
        with self._database.read() as connection:
            return [_label(row) for row in connection.execute(query)]

    def all_versions(self) -> list[Label]:
        """All versions of all cases, deleted ones too, oldest first."""
        with self._database.read() as connection:
            return [_label(row) for row in connection.execute(sa.select(label).order_by(label.c.id))]

    def submissions(self, tag: str) -> list[Contribution]:
        """Author, case and time of every version under a tag that isn't deleted, oldest first."""
        columns = (label.c.case_id, label.c.author, label.c.created)
        query = sa.select(*columns).where(label.c.tag == tag, label.c.deleted.is_(False)).order_by(label.c.id)
        with self._database.read() as connection:
            return [Contribution(*row) for row in connection.execute(query)]

    def newest_first(self, since: float = 0.0, author: str = "", limit: int = 1000) -> list[Label]:
        """Versions created since a time (seconds since the epoch) by one author, or by all (""); no deleted ones."""
        query = sa.select(label).where(label.c.deleted.is_(False), label.c.created >= since)
        if author:
            query = query.where(label.c.author == author)
        with self._database.read() as connection:
            return [_label(row) for row in connection.execute(query.order_by(label.c.id.desc()).limit(limit))]

    def after(self, label_id: int, limit: int = 1000) -> list[Label]:
        """Versions with an id above `label_id`, oldest first, without deleted ones."""
        query = sa.select(label).where(label.c.id > label_id, label.c.deleted.is_(False))
        with self._database.read() as connection:
            return [_label(row) for row in connection.execute(query.order_by(label.c.id).limit(limit))]

    def newest_id(self) -> int:
        """The highest version id; 0 if there is none."""
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.max(label.c.id))) or 0)

    def newest_of_all(self, tag: str | None = None) -> list[tuple[Label, Mapping[str, Any]]]:
        """The newest version per case and tag, and its `info`."""
        newest = (
            sa.select(sa.func.max(label.c.id)).where(label.c.deleted.is_(False)).group_by(label.c.case_id, label.c.tag)
        )
        query = sa.select(label).where(label.c.id.in_(newest)).order_by(label.c.id)
        if tag is not None:
            query = query.where(label.c.tag == tag)
        with self._database.read() as connection:
            return [(_label(row), row.info) for row in connection.execute(query)]

    def counts(self) -> dict[str, int]:
        """The number of cases with a label, by tag."""
        query = (
            sa.select(label.c.tag, sa.func.count(label.c.case_id.distinct()))
            .where(label.c.deleted.is_(False))
            .group_by(label.c.tag)
        )
        with self._database.read() as connection:
            return dict(connection.execute(query).all())

    def structures(self) -> list[str]:
        """All segment names in final labels, in order of first use."""
        query = sa.select(label.c.segments).where(label.c.tag == FINAL, label.c.deleted.is_(False)).order_by(label.c.id)
        names: dict[str, None] = {}
        with self._database.read() as connection:
            for segments in connection.scalars(query):
                names |= {segment["name"]: None for segment in segments}
        return list(names)

    def without_states(self) -> list[Label]:
        """The versions, deleted ones too, whose states nobody has read from their files."""
        query = sa.select(label).where(label.c.states.is_(None)).order_by(label.c.id)
        with self._database.read() as connection:
            return [_label(row) for row in connection.execute(query)]

    def set_states(self, states: Mapping[int, Mapping[str, StructureState]]) -> None:
        """Set the states of versions by their ids, as read from their files."""
        with self._database.write() as connection:
            for label_id, said in states.items():
                connection.execute(sa.update(label).where(label.c.id == label_id).values(states=dict(said)))

    def info(self, label_id: int) -> dict[str, Any]:
        with self._database.read() as connection:
            return dict(connection.scalar(sa.select(label.c.info).where(label.c.id == label_id)) or {})

    def set_info(self, label_id: int, info: Mapping[str, Any], who: str) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(label).where(label.c.id == label_id).values(info=dict(info)))
            self._audit.record(connection, who, "label.note", str(label_id), dict(info))

    def delete(self, case_id: str, tag: str, who: str) -> int:
        """Mark all versions under a tag as deleted; returns how many. Files and rows stay."""
        condition = sa.and_(label.c.case_id == case_id, label.c.tag == tag, label.c.deleted.is_(False))
        with self._database.write() as connection:
            count = connection.execute(sa.update(label).where(condition).values(deleted=True)).rowcount
            if count:
                refresh_completed(connection, case_id, FINAL)
                self._audit.record(connection, who, "label.delete", case_id, {"tag": tag, "versions": count})
        return int(count)


def _find_retry(connection: sa.Connection, new: NewLabel) -> Label | None:
    query = (
        sa.select(label)
        .where(
            label.c.case_id == new.case_id,
            label.c.tag == new.tag,
            label.c.deleted.is_(False),
        )
        .order_by(label.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    # Only the newest version can be what a retry repeats: after another version, the same bytes are a new submission.
    if row is None or row.author != new.submission.author or row.submitted_sha256 != new.submitted_sha256:
        return None
    same_names = [s["name"] for s in row.segments] == [s.name for s in new.segments]
    said_the_same = same_names and row.states == dict(new.states)
    return _label(row) if said_the_same and time.time() - row.created < RETRY_WINDOW else None


def _insert(
    connection: sa.Connection, new: NewLabel, number: int, stored: StoredFile, created: float, deliver: bool
) -> sa.Row[Any]:
    values: dict[str, Any] = {**vars(new.submission), **vars(stored), "number": number, "created": created}
    values |= {"case_id": new.case_id, "submitted_sha256": new.submitted_sha256}
    values |= {"segments": [asdict(s) for s in new.segments], "states": dict(new.states)}
    values |= {"info": dict(new.submission.info)}
    inserted = connection.execute(sa.insert(label).values(**values).returning(label)).one()
    if deliver:
        connection.execute(sa.insert(outbox).values(label_id=inserted.id, state="waiting", next_try=time.time()))
    refresh_completed(connection, new.case_id, FINAL)
    if new.tag != ORIGINAL:
        connection.execute(sa.delete(lease).where(lease.c.case_id == new.case_id))
    return inserted


def _next_number(connection: sa.Connection, case_id: str, tag: str) -> int:
    query = sa.select(sa.func.max(label.c.number)).where(label.c.case_id == case_id, label.c.tag == tag)
    return int(connection.scalar(query) or 0) + 1


def _label(row: sa.Row[Any]) -> Label:
    values = {name: row._mapping[name] for name in Label.__dataclass_fields__}
    values["segments"] = tuple(_segment(s) for s in values["segments"])
    values["states"] = values["states"] or {}
    values["created"] = datetime.fromtimestamp(values["created"], UTC)
    return Label(**values)


def _segment(values: dict[str, Any]) -> Segment:
    codes = {key: Code(**values[key]) if values[key] else None for key in ("category", "type")}
    color = tuple(values["color"]) if values["color"] else None
    return Segment(**{**values, **codes, "color": color})
