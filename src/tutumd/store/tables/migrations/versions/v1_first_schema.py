"""The first schema.

Until 0.1.0 is tagged, it equals the tables; docs/how-to/release.md describes how it is then written out.
`test_frozen_schema.py` has digests of the schema that it creates.
"""

from alembic import op

from tutumd.store.tables.upgrade import create_tables

revision = "1"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    create_tables(op.get_bind())
