"""Alembic migrations of the catalog, run by `app.catalog.upgrade`.

A change of `app.catalog.schema` needs a new file in `versions/`, and its revision in `upgrade.REVISIONS`. It must work
on SQLite and Postgres, and not import the application: a released migration never changes.
"""
