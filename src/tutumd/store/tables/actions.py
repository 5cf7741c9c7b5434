"""Tables of actions (the queue, their amounts, logs and totals) and of deliveries."""

import sqlalchemy as sa

from tutumd.model import ActionState
from tutumd.store.tables.schema import SERIAL, UtcTime, Uuid, metadata, partial_index

actions = sa.Table(
    "actions",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE"), nullable=False),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("verb", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("target", sa.Integer),
    sa.Column("cancel", sa.Boolean, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("due", UtcTime, nullable=False),
    sa.Column("started", UtcTime),
    sa.Column("ended", UtcTime),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(512), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    # A `ReasonCode`; empty: the action succeeded, or has not ended.
    sa.Column("reason_code", sa.String(32), nullable=False, server_default=""),
    sa.Column("log_tail", sa.Text, nullable=False),
    sa.Column("rolled_back", sa.Boolean, nullable=False),
    sa.Column("image_before", sa.Text),
    sa.Column("image_after", sa.Text),
    sa.Column("image_tried", sa.Text),
    # Commit of the new image, from its label.
    sa.Column("image_revision", sa.String(64)),
    sa.Column("containers_before", sa.JSON, nullable=False),
    sa.Column("containers_after", sa.JSON, nullable=False),
    sa.Column("worker", sa.String(64)),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("lease_until", UtcTime),
    sa.Column("attempts", sa.Integer, nullable=False),
    # Since when attempts fail, by the clock of leases; NULL: none has failed.
    sa.Column("failing_since", UtcTime),
    # Reason why the last attempt is repeated.
    sa.Column("last_error", sa.Text, nullable=False, server_default=""),
    sa.Column("journal", sa.JSON, nullable=False),
    # Inputs of the newest deliveries that had inputs.
    sa.Column("tag", sa.String(128)),
    sa.Column("variables", sa.JSON, nullable=False, server_default="{}"),
    # Whether a redeploy without a newer image does nothing, for all of its calls. NULL: the service's label decides.
    sa.Column("skip_unchanged", sa.Boolean),
    # The image of a ROLLBACK (`WantedImage`).
    sa.Column("image", sa.JSON(none_as_null=True)),
    # Who called, by the newest identity token of its calls: a phrase.
    sa.Column("caller", sa.Text),
    # Holds and freeze windows do not apply to it.
    sa.Column("overrides", sa.Boolean, nullable=False, server_default=sa.false()),
    # The service's target before this action, restored if the action fails or is canceled.
    sa.Column("target_before", sa.Integer),
    # Result of the amounts of a SCALEUP (`Growth`). NULL: they were added, or not yet.
    sa.Column("growth", sa.JSON(none_as_null=True)),
    # Successive workers that died while they performed it, without progress.
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
    # Ended half done: the next run of the service first cleans up according to `journal`.
    sa.Column("abandoned", sa.Boolean, nullable=False, server_default=sa.false()),
    # Only on SQLite: numbers of the newest deliveries when the action was queued, and when it was closed.
    sa.Column("first_delivery", sa.BigInteger),
    sa.Column("last_delivery", sa.BigInteger),
    sa.Index("actions_of_service", "service_uuid", "seq"),
    # Each claim searches for the abandoned action of its service. The index covers that query: otherwise SQLite prefers
    # the index above.
    partial_index(
        "actions_abandoned", "service_uuid", "uuid", sqlite=sa.text("abandoned = 1"), postgresql=sa.text("abandoned")
    ),
    sqlite_autoincrement=True,
)

LIVE = actions.c.state.in_([sa.literal_column("'Pending'"), sa.literal_column("'In progress'")])
RUNNING = actions.c.state == sa.literal_column(f"'{ActionState.IN_PROGRESS}'")
FAILED = actions.c.state == sa.literal_column(f"'{ActionState.FAILED}'")
OPEN = sa.and_(actions.c.state == sa.literal_column(f"'{ActionState.PENDING}'"), actions.c.open)

# Promise 2: at most one action of a service is in progress.
partial_index("actions_one_in_progress", actions.c.service_uuid, unique=True, where=RUNNING)
# Promise 3: at most one open pending action of a service and verb.
partial_index("actions_one_open", actions.c.service_uuid, actions.c.verb, unique=True, where=OPEN)
partial_index("actions_live", actions.c.seq, where=LIVE)
# Each claim searches for the oldest live action of its engine.
partial_index("actions_of_engine", actions.c.engine, actions.c.seq, where=LIVE)
# Recent failures, for the overview.
partial_index("actions_failed", actions.c.seq, where=FAILED)

# Containers that a SCALEUP adds, in order. Successive amounts with the same cap are one row, so that there are few
# rows.
action_inputs = sa.Table(
    "action_inputs",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("action_seq", SERIAL, sa.ForeignKey("actions.seq", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("cap", sa.Integer),
    sqlite_autoincrement=True,
)

# Why a pending action may not start yet: `HoldKind`. `actions.due` is the latest end of its holds (queue/holds.py).
action_holds = sa.Table(
    "action_holds",
    metadata,
    sa.Column(
        "action_seq",
        sa.BigInteger,
        sa.ForeignKey("actions.seq", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("kind", sa.String(16), primary_key=True),
    # NULL: until somebody removes it.
    sa.Column("until", UtcTime),
    # As `encode_reasons` writes it.
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(255), nullable=False, server_default=""),
    sqlite_with_rowid=False,
)

# The actions after whose end a pending action of a group may start. An action has rows while it has a hold of the kind
# `predecessor`.
action_predecessors = sa.Table(
    "action_predecessors",
    metadata,
    sa.Column(
        "action_seq",
        sa.BigInteger,
        sa.ForeignKey("actions.seq", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    # Not a foreign key: a deleted predecessor counts as failed.
    sa.Column("predecessor_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    # An `OnFailure`.
    sa.Column("on_failure", sa.String(16), nullable=False),
    # `seq` of the call of the group.
    sa.Column("group_call", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Calls of groups (`GroupCall`).
group_calls = sa.Table(
    "group_calls",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("handler_seq", sa.BigInteger, nullable=False),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("name", sa.String(255)),
    sa.Column("received", UtcTime, nullable=False),
    # Digest of the delivery's key. NULL: it has none.
    sa.Column("digest", sa.String(32)),
    # For each service a `GroupLine`, as `stored_line` writes it.
    sa.Column("lines", sa.JSON, nullable=False),
    # `seq` of one of its actions: after its end, a worker looks whether all have ended.
    sa.Column("waits_for", sa.BigInteger),
    # Set by a worker after the last of its actions has ended.
    sa.Column("ended", UtcTime),
    # `ActionState` at that time; the actions may be deleted before the call.
    sa.Column("state", sa.String(16)),
    sa.Index("group_calls_of_group", "handler_seq", "seq"),
    sa.Index("group_calls_of_key", "handler_seq", "digest"),
    sqlite_autoincrement=True,
)
partial_index("group_calls_live", group_calls.c.seq, where=group_calls.c.ended.is_(None))

action_lines = sa.Table(
    "action_lines",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("action_uuid", Uuid, sa.ForeignKey("actions.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("line", sa.Text, nullable=False),
    # Phase that begins with this line. NULL: unchanged.
    sa.Column("phase", sa.String(16)),
    sqlite_autoincrement=True,
)

# Ended actions and takeovers, counted in the transaction of the event (action_totals.py).
action_totals = sa.Table(
    "action_totals",
    metadata,
    sa.Column("engine", sa.String(64), primary_key=True),
    sa.Column("verb", sa.String(16), primary_key=True),
    # The state in which they ended, or `takeover`.
    sa.Column("event", sa.String(16), primary_key=True),
    # Upper bound of their duration in seconds; 0: they have not run; -1: above all bounds.
    sa.Column("bound", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("microseconds", sa.BigInteger, nullable=False),
)

CHUNK_BITS = 8

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
    # Approximate size of the row in bytes.
    sa.Column("kept_bytes", sa.Integer, nullable=False, server_default="0"),
    # Who called, by an identity token (`Caller`), as JSON.
    sa.Column("caller", sa.Text),
    # Containers requested from the action before this call. NULL: the action is no SCALEUP.
    sa.Column("before", sa.BigInteger),
    # Commit that its verified payload names.
    sa.Column("revision", sa.String(64)),
    # A handler's deliveries are found through the actions of its service. With an index by handler, or by any random
    # value, each call would change another page, which costs a third of the throughput once there are many rows. On
    # SQLite, the second index replaces the first (action_rows.py).
    partial_index("deliveries_of_action", "action_seq", "seq", sqlite=sa.text("seq < 0")),
    partial_index(
        "deliveries_of_chunk",
        sa.text(f"(seq >> {CHUNK_BITS})"),
        "action_seq",
        sqlite=sa.text("action_seq IS NOT NULL"),
        postgresql=sa.text("seq < 0"),
    ),
    partial_index("deliveries_apart", "handler_seq", "seq", where=sa.text("action_seq IS NULL")),
    sqlite_autoincrement=True,
)
# Existing chunks of deliveries. Empty on PostgreSQL.
delivery_chunks = sa.Table(
    "delivery_chunks", metadata, sa.Column("chunk", SERIAL, primary_key=True, autoincrement=False)
)

# Sizes of the deliveries of a handler, counted later (delivery_log.py). `kind` is acted, skipped or refused.
handler_logs = sa.Table(
    "handler_logs",
    metadata,
    sa.Column("handler_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(8), primary_key=True),
    # Service of the actions that locate the deliveries, also after the handler is deleted. NULL: the deliveries have no
    # action.
    sa.Column("service_uuid", Uuid),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Keys of accepted deliveries, to recognize repetitions. A bucket is a day, and is deleted as a whole.
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

# The last batch of plain calls of each intake, to learn after a lost connection whether it was stored. Empty on SQLite.
stored_batches = sa.Table(
    "stored_batches",
    metadata,
    sa.Column("key", Uuid, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("results", sa.JSON, nullable=False),
    # No further batch can be stored with this key.
    sa.Column("fenced", sa.Boolean, nullable=False),
    sa.Column("stored", UtcTime, nullable=False),
)
