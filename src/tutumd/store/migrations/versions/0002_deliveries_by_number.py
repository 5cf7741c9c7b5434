"""Deliveries name handlers and actions by their numbers, and are found through the action alone."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the UUIDs. What was received by a handler that is gone counts for its action still."""
    op.drop_index("deliveries_of_handler", "deliveries")
    op.drop_index("ix_deliveries_action_uuid", "deliveries")
    for table in ("handler", "action"):
        op.add_column("deliveries", sa.Column(f"{table}_seq", sa.BigInteger(), server_default="0", nullable=False))
        op.execute(
            f"UPDATE deliveries SET {table}_seq = COALESCE("  # noqa: S608 (names of tables)
            f"(SELECT seq FROM {table}s WHERE {table}s.uuid = deliveries.{table}_uuid), 0)"
        )
    op.execute("DELETE FROM deliveries WHERE action_seq = 0")
    with op.batch_alter_table("deliveries") as batch:
        for table in ("handler", "action"):
            batch.alter_column(f"{table}_seq", server_default=None)
            batch.drop_column(f"{table}_uuid")
    op.create_index("deliveries_of_action", "deliveries", ["action_seq", "seq"])
