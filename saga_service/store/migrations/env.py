"""Alembic runs this file. The connection comes from `saga_service.store.migrate`, in its one transaction."""

from alembic import context

from saga_service.store.schema import PRIVATE_SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema=PRIVATE_SCHEMA,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
