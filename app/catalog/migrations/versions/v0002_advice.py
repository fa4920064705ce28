"""`outbox.advice`: what to do about a label that the archive refuses was the second line of `outbox.error`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("advice", sa.Text, nullable=False, server_default=""))
    outbox = sa.table("outbox", sa.column("label_id"), sa.column("state"), sa.column("error"), sa.column("advice"))
    connection = op.get_bind()
    two_lines = sa.select(outbox.c.label_id, outbox.c.state, outbox.c.error).where(outbox.c.error.contains("\n"))
    for row in connection.execute(two_lines).all():
        error, _, advice = row.error.partition("\n")
        # One that is sent again kept both lines until the next try, and showed the first.
        values = {"error": error, "advice": advice if row.state == "refused" else ""}
        connection.execute(sa.update(outbox).where(outbox.c.label_id == row.label_id).values(values))
