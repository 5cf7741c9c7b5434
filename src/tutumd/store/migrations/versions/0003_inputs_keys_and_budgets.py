"""Inputs of actions, keys of senders, budgets of the delivery log, revisions of services, and abandoned actions.

It only adds what can be empty, and an index of containers, which calls do not write. So it is quick whatever the number
of deliveries, and the previous release works on it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add columns with constant defaults, and empty tables."""
    op.add_column("services", sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("actions", sa.Column("deaths", sa.Integer(), server_default="0", nullable=False))
    op.add_column("actions", sa.Column("abandoned", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("actions", sa.Column("target_before", sa.Integer()))
    op.create_index("containers_of_service", "containers", ["service_uuid", "present", "stopped"])
    op.create_index(
        "actions_abandoned",
        "actions",
        ["service_uuid", "uuid"],
        sqlite_where=sa.text("abandoned = 1"),
        postgresql_where=sa.text("abandoned"),
    )
    op.add_column("engines", sa.Column("away", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("deliveries", sa.Column("kept_bytes", sa.Integer()))
    op.create_table(
        "action_inputs",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("action_seq", _SERIAL, sa.ForeignKey("actions.seq", ondelete="CASCADE"), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cap", sa.Integer()),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_action_inputs_action_seq", "action_inputs", ["action_seq"])
    op.create_table(
        "sender_keys",
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("handler_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(16), nullable=False),
        sa.Column("action_seq", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "handler_seq", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "key_counts",
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("handler_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "handler_seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "handler_logs",
        sa.Column("handler_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("service_uuid", sa.String(length=36)),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("handler_seq", "kind"),
        sqlite_with_rowid=False,
    )
