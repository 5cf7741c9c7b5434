"""The first schema.

Until 0.1.0 is tagged, it equals the tables; docs/how-to/release.md describes how it is then written out.
"""

from alembic import op

from tutumd.store.tables.upgrade import create_tables

revision = "1"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    create_tables(op.get_bind())
