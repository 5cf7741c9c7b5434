"""The first schema.

Until 0.1.0 is tagged, it is what the tables say; docs/how-to/release.md tells how it is written out then.
"""

from alembic import op

from tutumd.store.tables.upgrade import create_tables

revision = "1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    create_tables(op.get_bind())
