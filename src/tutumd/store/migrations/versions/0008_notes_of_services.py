"""What the response to a call for a redeploy says of a service.

It only adds, so the previous release works on it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column, and on SQLite what makes the intake read it again."""
    op.add_column("services", sa.Column("notes", sa.Text(), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER services_noted AFTER UPDATE OF notes ON services WHEN OLD.notes <> NEW.notes"
            " BEGIN INSERT INTO changed_services (service_uuid) VALUES (OLD.uuid); END"
        )
