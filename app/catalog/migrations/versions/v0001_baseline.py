"""The schema as it was before catalogs had a revision."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

metadata = sa.MetaData()


def _column(name: str, kind: Any, default: Any = None) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=default)


def _texts(*names: str, default: str | None = None) -> list[sa.Column[Any]]:
    return [_column(name, sa.Text, default) for name in names]


def _case_id(**options: Any) -> sa.Column[Any]:
    return sa.Column("case_id", sa.Text, sa.ForeignKey("case_.id"), nullable=False, **options)


case = sa.Table(
    "case_",
    metadata,
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    *_texts("origin", "kind", "stamp"),
    *_texts("location", "patient_key", "patient_id", "study_uid", "series_uid", "modality", default=""),
    *_texts("description", "body_part", "manufacturer", "study_date", "study_time", default=""),
    *_texts("frame_of_reference_uid", default=""),
    _column("instances", sa.Integer, "0"),
    _column("warnings", sa.JSON),
    *_texts("problem", default=""),
    _column("first_seen", sa.Float),
    _column("served", sa.Float, "0"),
    _column("served_by", sa.JSON),
    _column("info", sa.JSON),
    _column("offered", sa.Boolean, sa.true()),
    sa.Column("expires", sa.Float),
    _column("gone", sa.Boolean, sa.false()),
    _column("completed", sa.Boolean, sa.false()),
)
_open = sa.text("completed = 0 AND gone = 0 AND offered = 1 AND problem = '' AND expires IS NULL")
sa.Index("case_open", case.c.position, case.c.id, case.c.patient_key, sqlite_where=_open)
sa.Index("case_served", case.c.served, case.c.id, sqlite_where=sa.text("served > 0"))
sa.Index("case_completed", case.c.patient_key, sqlite_where=case.c.completed.is_(True))

sa.Table(
    "fingerprint",
    metadata,
    _case_id(primary_key=True),
    *_texts("stamp"),
    sa.Column("value", sa.Text, nullable=False, index=True),
)

sa.Table(
    "label",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _case_id(index=True),
    *_texts("tag"),
    _column("number", sa.Integer),
    *_texts("path", "sha256", "submitted_sha256", "sop_instance_uid"),
    _column("segments", sa.JSON),
    *_texts("author", "client", "model", "model_version", "comment", default=""),
    _column("info", sa.JSON),
    _column("created", sa.Float),
    _column("deleted", sa.Boolean, sa.false()),
    sa.UniqueConstraint("case_id", "tag", "number"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("label_id", sa.Integer, sa.ForeignKey("label.id"), primary_key=True),
    *_texts("state"),
    _column("attempts", sa.Integer, "0"),
    _column("next_try", sa.Float),
    *_texts("error", "location", default=""),
    sa.Column("delivered", sa.Float),
)
sa.Index("outbox_waiting", outbox.c.next_try, sqlite_where=outbox.c.state == "waiting")

sa.Table(
    "lease",
    metadata,
    _case_id(primary_key=True),
    sa.Column("holder", sa.Text, nullable=False, index=True),
    *_texts("strategy", "reason"),
    _column("expires", sa.Float),
)

score = sa.Table(
    "score",
    metadata,
    _case_id(primary_key=True),
    sa.Column("scorer", sa.Text, primary_key=True),
    sa.Column("model_version", sa.Text, primary_key=True),
    _column("value", sa.Float),
    _column("detail", sa.JSON),
    _column("seconds", sa.Float),
    _column("created", sa.Float),
)
sa.Index("score_newest", score.c.scorer, score.c.created)

job = sa.Table(
    "job",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    *_texts("kind", "name", "state"),
    _column("request", sa.JSON),
    _column("priority", sa.Integer, "0"),
    _column("progress", sa.Float, "0"),
    _column("attempt", sa.Integer, "0"),
    sa.Column("pid", sa.Integer),
    sa.Column("pid_started", sa.Float),
    _column("stop_requested", sa.Boolean, sa.false()),
    _column("created", sa.Float),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    _column("result", sa.JSON),
    *_texts("error", default=""),
)
sa.Index("job_open", job.c.state, sqlite_where=job.c.state.in_(["queued", "running"]))

sa.Table(
    "job_event",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("job.id"), nullable=False, index=True),
    _column("time", sa.Float),
    *_texts("kind"),
    _column("data", sa.JSON),
)

sa.Table(
    "model_version",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_texts("model"),
    _column("number", sa.Integer),
    *_texts("parent", default=""),
    *_texts("folder", "sha256", "state"),
    *_texts("reason", default=""),
    _column("metrics", sa.JSON),
    _column("label_ids", sa.JSON),
    *_texts("licence", "job_id", default=""),
    _column("created", sa.Float),
    sa.UniqueConstraint("model", "number"),
)

sa.Table(
    "served",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, sa.ForeignKey("model_version.id"), nullable=False),
    _column("since", sa.Float),
)

sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _column("time", sa.Float),
    *_texts("who", "action", "subject"),
    _column("detail", sa.JSON),
    *_texts("chain"),
)

sa.Table("note", metadata, sa.Column("key", sa.Text, primary_key=True), *_texts("value"))


def upgrade() -> None:
    metadata.create_all(op.get_bind(), checkfirst=False)
