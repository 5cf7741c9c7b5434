"""Tables of deliveries, what they take, and the keys that tell repeated ones."""

import sqlalchemy as sa

from tutumd.store.tables.columns import SERIAL, UtcTime, Uuid
from tutumd.store.tables.schema import metadata

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("handler_seq", sa.BigInteger, nullable=False),
    sa.Column("action_seq", sa.BigInteger),
    sa.Column("amount", sa.Integer, nullable=False),
    sa.Column("received", UtcTime, nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(512), nullable=False),
    sa.Column("body_size", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("tag", sa.String(128)),
    sa.Column("variable", sa.String(128)),
    sa.Column("content", sa.Text, nullable=False, server_default=""),
    # Size of the row in bytes, about.
    sa.Column("kept_bytes", sa.Integer, nullable=False, server_default="0"),
    # Containers that the action was asked for before this call. NULL: it is no SCALEUP.
    sa.Column("before", sa.BigInteger),
    sqlite_autoincrement=True,
)
# A handler's deliveries are found through the actions of its service. With an index by handler, or by anything random,
# each call would change another page, which costs a third of the throughput once there are many rows. On SQLite, where
# the index is empty, `action_deliveries` takes its place.
_NEVER = deliveries.c.seq < 0
sa.Index("deliveries_of_action", deliveries.c.action_seq, deliveries.c.seq, sqlite_where=_NEVER)
_WITHOUT_ACTION = deliveries.c.action_seq.is_(None)
sa.Index(
    "deliveries_apart",
    deliveries.c.handler_seq,
    deliveries.c.seq,
    sqlite_where=_WITHOUT_ACTION,
    postgresql_where=_WITHOUT_ACTION,
)
# Deliveries by their action, filled later and in bulk (action_deliveries.py). Empty on PostgreSQL.
action_deliveries = sa.Table(
    "action_deliveries",
    metadata,
    sa.Column("action_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# What the deliveries of a handler take, counted later (delivery_log.py). `kind` is acted, skipped or refused.
handler_logs = sa.Table(
    "handler_logs",
    metadata,
    sa.Column("handler_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(8), primary_key=True),
    # Of the actions by which they are found, also once the handler is deleted. NULL: they have no action.
    sa.Column("service_uuid", Uuid),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Keys of accepted deliveries, to recognize repeated ones. A bucket is a day, and is deleted as a whole.
sender_keys = sa.Table(
    "sender_keys",
    metadata,
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("handler_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(16), primary_key=True),
    sa.Column("action_seq", sa.BigInteger, nullable=False),
    sa.Column("received", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

key_counts = sa.Table(
    "key_counts",
    metadata,
    sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("handler_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("keys", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
