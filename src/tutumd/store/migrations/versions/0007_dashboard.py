"""The dashboard: limits of keys, sessions, login links, forms, the audit log, what failed lately, labels of services.

The previous release works on it: its replicas give every key all rights of its user.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add columns and tables."""
    for column in (
        sa.Column("scope", sa.String(length=16)),
        sa.Column("service_uuid", sa.String(length=36)),
        sa.Column("stack", sa.String(length=255)),
        sa.Column("expires", sa.BigInteger()),
        sa.Column("last_used", sa.BigInteger()),
        sa.Column("form_sha256", sa.String(length=64)),
    ):
        op.add_column("api_keys", column)
    op.create_index("api_keys_of_form", "api_keys", ["form_sha256"], unique=True)
    op.add_column("handlers", sa.Column("form_sha256", sa.String(length=64)))
    of_form = sa.text("form_sha256 IS NOT NULL")
    op.create_index(
        "handlers_of_form",
        "handlers",
        ["service_uuid", "form_sha256"],
        unique=True,
        sqlite_where=of_form,
        postgresql_where=of_form,
    )
    op.add_column("services", sa.Column("settings", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("action_lines", sa.Column("phase", sa.String(length=16)))
    op.create_table(
        "sessions",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_uuid", sa.String(length=36), nullable=False),
        sa.Column("key_sha256", sa.String(length=64)),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=512), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("token_sha256"),
        sa.ForeignKeyConstraint(["user_uuid"], ["users.uuid"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["key_sha256"], ["api_keys.key_sha256"], ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    for column_name in ("user_uuid", "key_sha256", "expires"):
        op.create_index(f"ix_sessions_{column_name}", "sessions", [column_name])
    op.create_table(
        "login_links",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_uuid", sa.String(length=36), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_sha256"),
        sa.ForeignKeyConstraint(["user_uuid"], ["users.uuid"], ondelete="CASCADE"),
    )
    op.create_index("ix_login_links_user_uuid", "login_links", ["user_uuid"])
    op.create_table(
        "audit",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("user_name", sa.String(length=255), nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=512), nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("service_uuid", sa.String(length=36)),
        sa.Column("service_name", sa.String(length=512), nullable=False),
        sa.Column("stack", sa.String(length=255), nullable=False),
        sa.Column("handler_seq", sa.BigInteger()),
        sa.Column("action_uuid", sa.String(length=36)),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_of_time", "audit", ["at"])
    for column_name in ("service_uuid", "service_name", "stack", "user_name", "what", "via"):
        op.create_index(f"audit_of_{column_name}", "audit", [column_name, "seq"])
    failed = sa.text("state = 'Failed'")
    op.create_index("actions_failed", "actions", ["seq"], sqlite_where=failed, postgresql_where=failed)
