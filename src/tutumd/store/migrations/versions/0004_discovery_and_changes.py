"""Leases of discovery, and an index for claims.

It only adds, so the previous release works on it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_IS_LIVE = sa.text("state IN ('Pending', 'In progress')")


def upgrade() -> None:
    """Add a table, and an index of the live actions, which are few."""
    op.create_table(
        "discoveries",
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("engine"),
    )
    op.create_index("actions_of_engine", "actions", ["engine", "seq"], sqlite_where=_IS_LIVE, postgresql_where=_IS_LIVE)
