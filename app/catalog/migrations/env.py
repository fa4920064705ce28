"""Alembic's entry point, which uses the connection and the transaction of `app.catalog.upgrade.migrate`."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
