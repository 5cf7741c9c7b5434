"""Tables of engines, the workers that serve them, and questions to them."""

import sqlalchemy as sa

from tutumd.store.tables.columns import SERIAL, UtcTime, Uuid
from tutumd.store.tables.schema import metadata

engines = sa.Table(
    "engines",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("creates", sa.Boolean, nullable=False, key="can_create"),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("seen", UtcTime, nullable=False, key="last_heartbeat"),
    # `error` says why its worker has parked it: its actions wait. Else `error` is about some services only.
    sa.Column("away", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
)

# Which worker discovers the services of an engine instance. It renews this lease; others look on.
discoveries = sa.Table(
    "discoveries",
    metadata,
    sa.Column("engine", sa.String(64), primary_key=True),
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("lease_until", UtcTime, nullable=False),
)

# How many actions a worker performs at once on an engine instance, at most. Renewed with its heartbeat.
worker_slots = sa.Table(
    "worker_slots",
    metadata,
    sa.Column("worker", sa.String(64), primary_key=True),
    sa.Column("engine", sa.String(64), primary_key=True),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("last_heartbeat", UtcTime, nullable=False),
)

# Images by digest that runs pulled to an engine and that were not there before. Only these are removed again.
pulled_images = sa.Table(
    "pulled_images",
    metadata,
    sa.Column("engine", sa.String(64), primary_key=True),
    sa.Column("image", sa.String(512), primary_key=True),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("taken", sa.Boolean, nullable=False),
    sa.Column("answer", sa.JSON(none_as_null=True)),
    sqlite_autoincrement=True,
)
