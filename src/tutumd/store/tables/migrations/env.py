"""Alembic environment: runs the migrations in the transaction that the caller opened."""

from alembic import context

from tutumd.store.tables.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
