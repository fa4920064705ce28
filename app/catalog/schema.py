"""The tables. Times are seconds since the epoch (UTC); order comes from integer keys, never from clocks.

Every change here needs a migration (`app.catalog.migrations`).
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()


def _text(name: str) -> sa.Column[str]:
    """A text column, by default empty."""
    return sa.Column(name, sa.Text, nullable=False, server_default="")


case = sa.Table(
    "case_",
    metadata,
    sa.Column("position", sa.Integer, primary_key=True),  # the order in which cases became known
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("origin", sa.Text, nullable=False),  # "archive" or "upload"
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("stamp", sa.Text, nullable=False),
    _text("location"),
    _text("patient_key"),
    _text("patient_id"),
    _text("study_uid"),
    _text("series_uid"),
    _text("modality"),
    _text("description"),
    _text("body_part"),
    _text("manufacturer"),
    _text("study_date"),
    _text("study_time"),
    _text("frame_of_reference_uid"),
    sa.Column("instances", sa.Integer, nullable=False, server_default="0"),
    sa.Column("warnings", sa.JSON, nullable=False),
    _text("problem"),  # why it can't be opened; such a case is not offered
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("served", sa.Float, nullable=False, server_default="0"),  # when it was last offered
    sa.Column("served_by", sa.JSON, nullable=False),  # strategy -> {"ts", "client_id"}
    sa.Column("info", sa.JSON, nullable=False),  # what clients noted about the image
    sa.Column("offered", sa.Boolean, nullable=False, server_default=sa.true()),  # False: never a "next case"
    sa.Column("expires", sa.Float),  # when a session upload is removed; None: never
    sa.Column("gone", sa.Boolean, nullable=False, server_default=sa.false()),  # no longer in the archive
    sa.Column("completed", sa.Boolean, nullable=False, server_default=sa.false()),  # has a final label
)
OPEN = "completed = 0 AND gone = 0 AND offered = 1 AND problem = '' AND expires IS NULL"
"""The condition for offering a case. SQLite uses the partial index only for queries with exactly this text."""
sa.Index("case_open", case.c.position, case.c.id, case.c.patient_key, sqlite_where=sa.text(OPEN))
sa.Index("case_served", case.c.served, case.c.id, sqlite_where=sa.text("served > 0"))
sa.Index("case_completed", case.c.patient_key, sqlite_where=case.c.completed.is_(True))

fingerprint = sa.Table(
    "fingerprint",
    metadata,
    sa.Column("case_id", sa.Text, sa.ForeignKey("case_.id"), primary_key=True),
    sa.Column("stamp", sa.Text, nullable=False),  # of the images that were digested
    sa.Column("value", sa.Text, nullable=False, index=True),
)

label = sa.Table(
    "label",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("case_id", sa.Text, sa.ForeignKey("case_.id"), nullable=False, index=True),
    sa.Column("tag", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("submitted_sha256", sa.Text, nullable=False),
    sa.Column("sop_instance_uid", sa.Text, nullable=False),
    sa.Column("segments", sa.JSON, nullable=False),
    # What is said of each segment: name -> state. NULL (of older versions) until the file was read.
    sa.Column("states", sa.JSON(none_as_null=True)),
    _text("author"),
    _text("client"),
    _text("model"),
    _text("model_version"),
    _text("comment"),
    sa.Column("info", sa.JSON, nullable=False),  # what clients noted about the label
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),  # a tombstone; the file stays
    sa.UniqueConstraint("case_id", "tag", "number"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("label_id", sa.Integer, sa.ForeignKey("label.id"), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),  # "waiting", "delivered" or "refused"
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_try", sa.Float, nullable=False),
    _text("error"),
    _text("advice"),  # what a person can do about it; "" while waiting may help
    _text("location"),
    sa.Column("delivered", sa.Float),
)
sa.Index("outbox_waiting", outbox.c.next_try, sqlite_where=outbox.c.state == "waiting")

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("case_id", sa.Text, sa.ForeignKey("case_.id"), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False, index=True),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)

score = sa.Table(
    "score",
    metadata,
    sa.Column("case_id", sa.Text, sa.ForeignKey("case_.id"), primary_key=True),
    sa.Column("scorer", sa.Text, primary_key=True),  # e.g. "entropy:segmentation"
    sa.Column("model_version", sa.Text, primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),  # per class values, the most uncertain slices
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
)

sa.Index("score_newest", score.c.scorer, score.c.created)

job = sa.Table(
    "job",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # "train", "score", "segment"
    sa.Column("name", sa.Text, nullable=False),  # the model or scorer it is about
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("progress", sa.Float, nullable=False, server_default="0"),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("pid", sa.Integer),
    sa.Column("pid_started", sa.Float),  # distinguishes a process from a later one with the same PID
    sa.Column("stop_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("result", sa.JSON, nullable=False),
    _text("error"),
)
sa.Index("job_open", job.c.state, sqlite_where=job.c.state.in_(["queued", "running"]))

job_event = sa.Table(
    "job_event",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("job.id"), nullable=False, index=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # "log" or "epoch"
    sa.Column("data", sa.JSON, nullable=False),
)

model_version = sa.Table(
    "model_version",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # e.g. "segmentation-3"
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    _text("parent"),
    sa.Column("folder", sa.Text, nullable=False),  # relative to the model store
    sa.Column("sha256", sa.Text, nullable=False),  # of the weights
    sa.Column("state", sa.Text, nullable=False),  # "published" or "rejected"
    _text("reason"),  # what the gate said
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("label_ids", sa.JSON, nullable=False),  # what it was trained on
    _text("licence"),
    _text("job_id"),
    sa.Column("created", sa.Float, nullable=False),
    sa.UniqueConstraint("model", "number"),
)

served = sa.Table(
    "served",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, sa.ForeignKey("model_version.id"), nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)

account = sa.Table(
    "account",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),  # "annotator", "reviewer" or "administrator"
    sa.Column("password", sa.Text, nullable=False),  # argon2id
    sa.Column("created", sa.Float, nullable=False),
)

credential = sa.Table(
    "credential",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey("account.name"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),  # "token" or "session"
    _text("name"),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),  # of the secret
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),  # None: never
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("chain", sa.Text, nullable=False),  # digest of this row and of the chain before it
)

note = sa.Table(
    "note",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),  # e.g. "sync.cursor"
    sa.Column("value", sa.Text, nullable=False),
)
