"""Images that runs pulled, what is told of a service, and a table that takes the place of an index on SQLite.

The previous release works on it: all it misses is the index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables, and columns of services."""
    op.create_table(
        "pulled_images",
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("image", sa.String(length=512), nullable=False),
        sa.PrimaryKeyConstraint("engine", "image"),
    )
    op.add_column("services", sa.Column("autorestart", sa.String(length=16), nullable=False, server_default="OFF"))
    op.add_column("services", sa.Column("variables", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("services", sa.Column("notes", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "action_deliveries",
        sa.Column("action_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("action_seq", "seq"),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        _upgrade_sqlite()


def _upgrade_sqlite() -> None:
    op.execute(
        "CREATE TRIGGER services_noted AFTER UPDATE OF notes ON services WHEN OLD.notes <> NEW.notes"
        " BEGIN INSERT INTO changed_services (service_uuid) VALUES (OLD.uuid); END"
    )
    # The table is filled in its order. The index stays for rows of the previous release.
    op.execute(
        "INSERT INTO action_deliveries (action_seq, seq) SELECT action_seq, seq FROM deliveries "
        "WHERE action_seq IS NOT NULL ORDER BY action_seq, seq"
    )
    op.execute("INSERT INTO meta (key, value) SELECT 'filed', seq FROM deliveries ORDER BY seq DESC LIMIT 1")
    op.drop_index("deliveries_of_action", "deliveries")
    op.create_index(
        "deliveries_of_action", "deliveries", ["action_seq", "seq"], sqlite_where=sa.text("kept_bytes IS NULL")
    )
