"""A table that takes the place of an index on SQLite.

The previous release works on it: all it misses is the index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table. On SQLite, fill it in its order; the index stays for rows of the previous release."""
    op.create_table(
        "action_deliveries",
        sa.Column("action_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("action_seq", "seq"),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute(
        "INSERT INTO action_deliveries (action_seq, seq) SELECT action_seq, seq FROM deliveries "
        "WHERE action_seq IS NOT NULL ORDER BY action_seq, seq"
    )
    op.execute("INSERT INTO meta (key, value) SELECT 'filed', max(seq) FROM deliveries HAVING max(seq) IS NOT NULL")
    op.drop_index("deliveries_of_action", "deliveries")
    op.create_index(
        "deliveries_of_action", "deliveries", ["action_seq", "seq"], sqlite_where=sa.text("kept_bytes IS NULL")
    )
