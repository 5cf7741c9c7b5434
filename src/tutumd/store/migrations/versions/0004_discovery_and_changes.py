"""Leases of discovery, an index for claims, and on SQLite a log of what the intake must read again.

It only adds, so the previous release works on it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_IS_LIVE = sa.text("state IN ('Pending', 'In progress')")

_LOG = "INSERT INTO changed_services (service_uuid) VALUES"
_TRIGGERS = (
    "CREATE TRIGGER handlers_changed AFTER UPDATE OF uuid, seq, service_uuid, name, operation, options, version, uses,"
    f" rate_tat, old_uuid, old_until ON handlers BEGIN {_LOG} (OLD.service_uuid); END",
    f"CREATE TRIGGER handlers_deleted AFTER DELETE ON handlers BEGIN {_LOG} (OLD.service_uuid); END",
    "CREATE TRIGGER services_changed AFTER UPDATE OF uuid, engine, terminated ON services"
    f" BEGIN {_LOG} (OLD.uuid); END",
    f"CREATE TRIGGER services_deleted AFTER DELETE ON services BEGIN {_LOG} (OLD.uuid); END",
    "CREATE TRIGGER actions_opened AFTER INSERT ON actions WHEN NEW.state = 'Pending' AND NEW.open"
    f" BEGIN {_LOG} (NEW.service_uuid); END",
    "CREATE TRIGGER actions_changed AFTER UPDATE OF uuid, seq, service_uuid, verb, state, open, created, due ON actions"
    " WHEN (OLD.state = 'Pending' AND OLD.open) OR (NEW.state = 'Pending' AND NEW.open)"
    f" BEGIN {_LOG} (NEW.service_uuid); END",
    "CREATE TRIGGER actions_deleted AFTER DELETE ON actions WHEN OLD.state = 'Pending' AND OLD.open"
    f" BEGIN {_LOG} (OLD.service_uuid); END",
    "CREATE TRIGGER changes_pruned AFTER INSERT ON changed_services WHEN NEW.seq % 100 = 0 BEGIN"
    " DELETE FROM changed_services WHERE seq <= NEW.seq - 1000; END",
)


def upgrade() -> None:
    """Add tables, and an index of the live actions, which are few."""
    op.create_table(
        "discoveries",
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("engine"),
    )
    op.create_index("actions_of_engine", "actions", ["engine", "seq"], sqlite_where=_IS_LIVE, postgresql_where=_IS_LIVE)
    op.create_table(
        "changed_services",
        sa.Column("seq", _SERIAL, nullable=False),
        sa.Column("service_uuid", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for trigger in _TRIGGERS:
            op.execute(trigger)
