"""First schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "deliveries",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("handler_uuid", sa.String(length=36), nullable=False),
        sa.Column("action_uuid", sa.String(length=36), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=512), nullable=False),
        sa.Column("body_size", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_of_handler", "deliveries", ["handler_uuid", "seq"], unique=False)
    op.create_index(op.f("ix_deliveries_action_uuid"), "deliveries", ["action_uuid"], unique=False)
    op.create_table(
        "engines",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("creates", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "services",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("engine_kind", sa.String(length=32), nullable=False),
        sa.Column("selector", sa.String(length=1024), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("stack", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("bound", sa.Boolean(), nullable=False),
        sa.Column("terminated", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("stopped", sa.Integer(), nullable=False),
        sa.Column("image_name", sa.Text(), nullable=False),
        sa.Column("image_digest", sa.Text(), nullable=True),
        sa.Column("run_command", sa.Text(), nullable=False),
        sa.Column("definition", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("deployed", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("unbound", sa.BigInteger(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("uuid"),
        sa.UniqueConstraint("engine", "selector", name="services_engine_selector"),
    )
    op.create_index(op.f("ix_services_name"), "services", ["name"], unique=False)
    op.create_table(
        "users",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "actions",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("verb", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=True),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("cancel", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=512), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("log_tail", sa.Text(), nullable=False),
        sa.Column("rolled_back", sa.Boolean(), nullable=False),
        sa.Column("image_before", sa.Text(), nullable=True),
        sa.Column("image_after", sa.Text(), nullable=True),
        sa.Column("containers_before", sa.JSON(), nullable=False),
        sa.Column("containers_after", sa.JSON(), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("journal", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["service_uuid"], ["services.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "actions_live",
        "actions",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("state IN ('Pending', 'In progress')"),
        postgresql_where=sa.text("state IN ('Pending', 'In progress')"),
    )
    op.create_index("actions_of_service", "actions", ["service_uuid", "seq"], unique=False)
    op.create_index(
        "actions_one_in_progress",
        "actions",
        ["service_uuid"],
        unique=True,
        sqlite_where=sa.text("state = 'In progress'"),
        postgresql_where=sa.text("state = 'In progress'"),
    )
    op.create_index(
        "actions_one_open",
        "actions",
        ["service_uuid", "verb"],
        unique=True,
        sqlite_where=sa.text("state = 'Pending' AND open = 1"),
        postgresql_where=sa.text("state = 'Pending' AND open"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_uuid", sa.String(length=36), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_uuid"], ["users.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key_sha256"),
    )
    op.create_index(op.f("ix_api_keys_user_uuid"), "api_keys", ["user_uuid"], unique=False)
    op.create_table(
        "containers",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("object_id", sa.String(length=255), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("image_name", sa.Text(), nullable=False),
        sa.Column("image_digest", sa.Text(), nullable=True),
        sa.Column("run_command", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("stopped", sa.BigInteger(), nullable=True),
        sa.Column("ports", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["service_uuid"], ["services.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uuid"),
        sa.UniqueConstraint("service_uuid", "object_id", name="containers_service_object"),
    )
    op.create_table(
        "handlers",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("operation", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["service_uuid"], ["services.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_handlers_service_uuid"), "handlers", ["service_uuid"], unique=False)
    op.create_table(
        "requests",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.Boolean(), nullable=False),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["service_uuid"], ["services.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("uuid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "action_lines",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("action_uuid", sa.String(length=36), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["action_uuid"], ["actions.uuid"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_action_lines_action_uuid"), "action_lines", ["action_uuid"], unique=False)
