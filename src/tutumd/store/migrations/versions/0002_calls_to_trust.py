"""What is set on handlers, what calls carry, and deliveries that name handlers and actions by number."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns, and replace the UUIDs in deliveries; a delivery of a handler that is gone counts for its action."""
    with op.batch_alter_table("handlers") as batch:
        batch.add_column(sa.Column("options", sa.Text(), server_default="{}", nullable=False))
        batch.add_column(sa.Column("version", sa.Integer(), server_default="0", nullable=False))
        for name in ("uses", "rate_tat", "calls"):
            batch.add_column(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
        batch.add_column(sa.Column("last_called", sa.BigInteger()))
        batch.add_column(sa.Column("old_uuid", sa.String(length=36)))
        batch.add_column(sa.Column("old_until", sa.BigInteger()))
        batch.add_column(sa.Column("old_called", sa.BigInteger()))
        batch.add_column(sa.Column("old_address", sa.String(length=64)))
        batch.create_unique_constraint("handlers_old_uuid", ["old_uuid"])
    op.create_table(
        "client_rates",
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("rate_tat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address"),
    )
    op.add_column("actions", sa.Column("tag", sa.String(length=128)))
    op.add_column("actions", sa.Column("variables", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("actions", sa.Column("most", sa.Integer()))
    _change_deliveries()


def _change_deliveries() -> None:
    op.drop_index("deliveries_of_handler", "deliveries")
    op.drop_index("ix_deliveries_action_uuid", "deliveries")
    op.add_column("deliveries", sa.Column("handler_seq", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("deliveries", sa.Column("action_seq", sa.BigInteger()))
    for table in ("handler", "action"):
        op.execute(
            f"UPDATE deliveries SET {table}_seq = COALESCE("  # noqa: S608 (names of tables)
            f"(SELECT seq FROM {table}s WHERE {table}s.uuid = deliveries.{table}_uuid), 0)"
        )
    op.execute("DELETE FROM deliveries WHERE action_seq = 0")
    with op.batch_alter_table("deliveries") as batch:
        batch.alter_column("handler_seq", server_default=None)
        batch.drop_column("handler_uuid")
        batch.drop_column("action_uuid")
        batch.add_column(sa.Column("reason", sa.Text(), server_default="", nullable=False))
        batch.add_column(sa.Column("most", sa.Integer()))
        batch.add_column(sa.Column("tag", sa.String(length=128)))
        batch.add_column(sa.Column("variable", sa.String(length=128)))
        batch.add_column(sa.Column("sender_key", sa.String(length=256)))
        batch.add_column(sa.Column("content", sa.Text(), server_default="", nullable=False))
    op.create_index("deliveries_of_action", "deliveries", ["action_seq", "seq"])
    for name, columns, where in (
        ("deliveries_apart", ["handler_seq", "seq"], sa.text("action_seq IS NULL")),
        ("deliveries_by_key", ["sender_key", "handler_seq"], sa.text("sender_key IS NOT NULL")),
    ):
        op.create_index(name, "deliveries", columns, sqlite_where=where, postgresql_where=where)
