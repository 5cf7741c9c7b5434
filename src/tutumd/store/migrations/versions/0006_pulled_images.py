"""Images that runs pulled, and what a service's containers say of restarts and variables.

It only adds, so the previous release works on it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table, and two columns of services."""
    op.create_table(
        "pulled_images",
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("image", sa.String(length=512), nullable=False),
        sa.PrimaryKeyConstraint("engine", "image"),
    )
    op.add_column("services", sa.Column("autorestart", sa.String(length=16), nullable=False, server_default="OFF"))
    op.add_column("services", sa.Column("variables", sa.JSON(), nullable=False, server_default="[]"))
