"""`label.states`: what a label says of each structure.

It is in the files, so it stays NULL here, and `app.project.label_states` reads it when the project is opened.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("label", sa.Column("states", sa.JSON(none_as_null=True)))
