"""How an older catalog becomes one of this program: Alembic scripts, run by `app.catalog.upgrade`.

A change of `app.catalog.schema` needs a new file in `versions/`, and its revision in `upgrade.REVISIONS`. It has to
work on SQLite and Postgres, and imports nothing of this program: a migration stays as it was released.
"""
