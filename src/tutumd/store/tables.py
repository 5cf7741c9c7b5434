"""The tables. A test compares them with those that the migrations create.

A `key` is the name of a column in Python, if the stored name is an older word.
"""

import uuid
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from tutumd.model import ActionState

HEAD = "0007"
"""Revision of the newest migration."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(value: datetime) -> int:
    """Return a time as the stored number."""
    return (value - EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """Return the time of a stored number."""
    return EPOCH + timedelta(microseconds=value)


def new_uuid() -> str:
    """Return a new version 4 UUID, the only form that the clients of 2015 accept as an ID."""
    return str(uuid.uuid4())


def storable(text: str) -> str:
    """Return a text in a form that every database stores: without NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A time as microseconds since 1970, which every database stores and compares alike."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


metadata = sa.MetaData()
Uuid = sa.String(36)
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("is_admin", sa.Boolean, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_sha256", sa.String(64), primary_key=True),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("hint", sa.String(16), nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    # NULL: of the previous release, with all rights of its user.
    sa.Column("scope", sa.String(16)),
    sa.Column("service_uuid", Uuid),
    sa.Column("stack", sa.String(255)),
    sa.Column("expires", UtcTime),
    sa.Column("last_used", UtcTime),
    # Of the form of the dashboard that made it.
    sa.Column("form_sha256", sa.String(64)),
)
# A form that is sent twice makes one key.
sa.Index("api_keys_of_form", api_keys.c.form_sha256, unique=True)

# Sessions of the dashboard. What was made from an API key ends with it.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("key_sha256", sa.String(64), sa.ForeignKey("api_keys.key_sha256", ondelete="CASCADE"), index=True),
    sa.Column("credential", sa.String(64), nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("last_seen", UtcTime, nullable=False),
    sa.Column("expires", UtcTime, nullable=False, index=True),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(512), nullable=False),
    sqlite_autoincrement=True,
)

# Links that sign in once.
login_links = sa.Table(
    "login_links",
    metadata,
    sa.Column("token_sha256", sa.String(64), primary_key=True),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("expires", UtcTime, nullable=False),
)

# Who did what. It refers to nothing, so that it outlives everything.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("user_name", sa.String(255), nullable=False),
    sa.Column("via", sa.String(16), nullable=False),
    sa.Column("credential", sa.String(64), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(512), nullable=False),
    sa.Column("what", sa.String(32), nullable=False),
    sa.Column("service_uuid", Uuid),
    sa.Column("service_name", sa.String(512), nullable=False),
    sa.Column("stack", sa.String(255), nullable=False),
    sa.Column("handler_seq", sa.BigInteger),
    sa.Column("action_uuid", Uuid),
    sa.Column("details", sa.Text, nullable=False),
    sa.Index("audit_of_time", "at"),
    sa.Index("audit_of_service_uuid", "service_uuid", "seq"),
    sa.Index("audit_of_service_name", "service_name", "seq"),
    sa.Index("audit_of_stack", "stack", "seq"),
    sa.Index("audit_of_user_name", "user_name", "seq"),
    sa.Index("audit_of_what", "what", "seq"),
    sa.Index("audit_of_via", "via", "seq"),
    sqlite_autoincrement=True,
)

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

# Images by digest that runs pulled to an engine and that were not there before. Only these are removed again.
pulled_images = sa.Table(
    "pulled_images",
    metadata,
    sa.Column("engine", sa.String(64), primary_key=True),
    sa.Column("image", sa.String(512), primary_key=True),
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("uuid", Uuid, primary_key=True),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("engine_kind", sa.String(32), nullable=False),
    sa.Column("selector", sa.String(1024), nullable=False),
    sa.Column("name", sa.String(255), nullable=False, index=True),
    sa.Column("stack", sa.String(255), nullable=False),
    sa.Column("owner", sa.String(255)),
    sa.Column("bound", sa.Boolean, nullable=False),
    sa.Column("terminated", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("target", sa.Integer, nullable=False),
    sa.Column("running", sa.Integer, nullable=False),
    sa.Column("stopped", sa.Integer, nullable=False),
    sa.Column("image_name", sa.Text, nullable=False),
    sa.Column("image_digest", sa.Text),
    sa.Column("run_command", sa.Text, nullable=False),
    sa.Column("definition", sa.JSON(none_as_null=True)),
    sa.Column("warnings", sa.JSON, nullable=False),
    # What the response to a call for a redeploy says of the service: sentences, one a line.
    sa.Column("notes", sa.Text, nullable=False, server_default=""),
    # Labels that configure it, as people set them: pairs of name and value.
    sa.Column("settings", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("autorestart", sa.String(16), nullable=False, server_default="OFF"),
    sa.Column("variables", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("deployed", UtcTime),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("unbound", UtcTime),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    # Raised by each claim and each end of an action: a look at the engine that began before is out of date.
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("engine", "selector", name="services_engine_selector"),
)

containers = sa.Table(
    "containers",
    metadata,
    sa.Column("uuid", Uuid, primary_key=True),
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE"), nullable=False),
    sa.Column("object_id", sa.String(255), nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("name", sa.String(512), nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("image_name", sa.Text, nullable=False),
    sa.Column("image_digest", sa.Text),
    sa.Column("run_command", sa.Text, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("started", UtcTime),
    sa.Column("stopped", UtcTime),
    sa.Column("ports", sa.JSON, nullable=False),
    sa.UniqueConstraint("service_uuid", "object_id", name="containers_service_object"),
    # For the present ones, and for the oldest of those that are gone.
    sa.Index("containers_of_service", "service_uuid", "present", "stopped"),
)

handlers = sa.Table(
    "handlers",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("name", sa.String(255)),
    sa.Column("operation", sa.String(16), nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    # Fields beyond the specification, as JSON. `version` changes with each change of them.
    sa.Column("options", sa.Text, nullable=False, server_default="{}"),
    sa.Column("version", sa.Integer, nullable=False, server_default="0"),
    # Updated with each call only if the handler has such a limit.
    sa.Column("uses", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rate_tat", sa.BigInteger, nullable=False, server_default="0"),
    # Updated later, see call_counts.py.
    sa.Column("calls", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("last_called", UtcTime),
    sa.Column("old_uuid", Uuid),
    sa.Column("old_until", UtcTime),
    sa.Column("old_called", UtcTime),
    sa.Column("old_address", sa.String(64)),
    # Of the form of the dashboard that created it.
    sa.Column("form_sha256", sa.String(64)),
    sa.UniqueConstraint("old_uuid", name="handlers_old_uuid"),
    sqlite_autoincrement=True,
)
# A form that is sent twice creates one handler.
_OF_FORM = handlers.c.form_sha256.isnot(None)
sa.Index(
    "handlers_of_form",
    handlers.c.service_uuid,
    handlers.c.form_sha256,
    unique=True,
    sqlite_where=_OF_FORM,
    postgresql_where=_OF_FORM,
)

# Unused. Replicas of the previous release may still write to it (TUTUMD_CLIENT_RATE_LIMIT). The next release drops it:
# a migration never breaks the previous release.
client_rates = sa.Table(
    "client_rates",
    metadata,
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("rate_tat", sa.BigInteger, nullable=False),
)

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
    sa.Column("amount", sa.Integer, nullable=False),
    sa.Column("cancel", sa.Boolean, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("due", UtcTime, nullable=False),
    sa.Column("started", UtcTime),
    sa.Column("ended", UtcTime),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(512), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("log_tail", sa.Text, nullable=False),
    sa.Column("rolled_back", sa.Boolean, nullable=False),
    sa.Column("image_before", sa.Text),
    sa.Column("image_after", sa.Text),
    sa.Column("containers_before", sa.JSON, nullable=False),
    sa.Column("containers_after", sa.JSON, nullable=False),
    sa.Column("worker", sa.String(64)),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("lease_until", UtcTime),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("journal", sa.JSON, nullable=False),
    # Inputs of the newest deliveries that had any.
    sa.Column("tag", sa.String(128)),
    sa.Column("variables", sa.JSON, nullable=False, server_default="{}"),
    # The service's target before this action set it, which holds again if the action fails or is canceled.
    sa.Column("target_before", sa.Integer),
    # For `amount`, which a retry took over from its predecessor.
    sa.Column("most", sa.Integer, key="cap"),
    # Workers in a row that died while they performed it, without getting further.
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
    # Ended half done: `journal` is what the next run of the service clears up first.
    sa.Column("abandoned", sa.Boolean, nullable=False, server_default=sa.false()),
    sqlite_autoincrement=True,
)

LIVE = actions.c.state.in_([sa.literal_column("'Pending'"), sa.literal_column("'In progress'")])
RUNNING = actions.c.state == sa.literal_column(f"'{ActionState.IN_PROGRESS}'")
FAILED = actions.c.state == sa.literal_column(f"'{ActionState.FAILED}'")
OPEN = sa.and_(actions.c.state == sa.literal_column(f"'{ActionState.PENDING}'"), actions.c.open)

# Promise 2: at most one action of a service is in progress.
sa.Index("actions_one_in_progress", actions.c.service_uuid, unique=True, sqlite_where=RUNNING, postgresql_where=RUNNING)
# Promise 3: at most one open pending action of a service and verb.
sa.Index(
    "actions_one_open",
    actions.c.service_uuid,
    actions.c.verb,
    unique=True,
    sqlite_where=OPEN,
    postgresql_where=OPEN,
)
sa.Index("actions_live", actions.c.seq, sqlite_where=LIVE, postgresql_where=LIVE)
# Each claim looks for the oldest live action of its engine.
sa.Index("actions_of_engine", actions.c.engine, actions.c.seq, sqlite_where=LIVE, postgresql_where=LIVE)
# What failed lately, for the overview.
sa.Index("actions_failed", actions.c.seq, sqlite_where=FAILED, postgresql_where=FAILED)
sa.Index("actions_of_service", actions.c.service_uuid, actions.c.seq)
# Each claim looks for the abandoned action of its service. It covers that query: SQLite prefers the index above else.
sa.Index(
    "actions_abandoned",
    actions.c.service_uuid,
    actions.c.uuid,
    sqlite_where=sa.text("abandoned = 1"),
    postgresql_where=sa.text("abandoned"),
)

# What a SCALEUP adds, in order. Amounts that follow each other with the same cap are one row, so that rows stay few.
action_inputs = sa.Table(
    "action_inputs",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("action_seq", SERIAL, sa.ForeignKey("actions.seq", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("cap", sa.Integer),
    sqlite_autoincrement=True,
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
    sa.Column("most", sa.Integer, key="cap"),
    sa.Column("tag", sa.String(128)),
    sa.Column("variable", sa.String(128)),
    sa.Column("sender_key", sa.String(256)),
    sa.Column("content", sa.Text, nullable=False, server_default=""),
    # Size of the row in bytes, about. NULL: written by the previous release, whose workers and edges read `amount`,
    # `cap`, `tag`, `variable` and `sender_key` here, and nowhere else.
    sa.Column("kept_bytes", sa.Integer),
    sqlite_autoincrement=True,
)
# A handler's deliveries are found through the actions of its service. With an index by handler, or by anything random,
# each call would change another page, which costs a third of the throughput once there are many rows. On SQLite this
# one is for rows of the previous release only, and `action_deliveries` for all.
_OF_PREVIOUS_RELEASE = deliveries.c.kept_bytes.is_(None)
sa.Index("deliveries_of_action", deliveries.c.action_seq, deliveries.c.seq, sqlite_where=_OF_PREVIOUS_RELEASE)
_WITHOUT_ACTION = deliveries.c.action_seq.is_(None)
sa.Index(
    "deliveries_apart",
    deliveries.c.handler_seq,
    deliveries.c.seq,
    sqlite_where=_WITHOUT_ACTION,
    postgresql_where=_WITHOUT_ACTION,
)
_WITH_KEY = deliveries.c.sender_key.isnot(None)
sa.Index(
    "deliveries_by_key",
    deliveries.c.sender_key,
    deliveries.c.handler_seq,
    sqlite_where=_WITH_KEY,
    postgresql_where=_WITH_KEY,
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

action_lines = sa.Table(
    "action_lines",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("action_uuid", Uuid, sa.ForeignKey("actions.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("line", sa.Text, nullable=False),
    # What the run does from this line on. NULL: as before, or written by the previous release.
    sa.Column("phase", sa.String(16)),
    sqlite_autoincrement=True,
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

# Services of which a handler or the open action has changed. Triggers write it, on SQLite only (change_log.py).
changed_services = sa.Table(
    "changed_services",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True),
    sa.Column("service_uuid", Uuid, nullable=False),
)
