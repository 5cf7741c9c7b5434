"""Tables of notification targets, of notifications (the outbox), and of failures that targets were told."""

import sqlalchemy as sa

from tutumd.store.tables.schema import SERIAL, UtcTime, Uuid, metadata, partial_index

targets = sa.Table(
    "notification_targets",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    # Values that are secret are encrypted.
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("events", sa.JSON, nullable=False),
    # Without a reference: a removed service that its engine reports again has the same UUID, and a scope never widens.
    sa.Column("service_uuid", Uuid),
    sa.Column("stack", sa.String(255)),
    sa.Column("include_log", sa.Boolean, nullable=False),
    # Endings of the actions of a group call are told together.
    sa.Column("per_group_call", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("repeat_s", sa.Integer, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.Text, nullable=False, server_default=""),
    sa.Column("created", UtcTime, nullable=False),
    # Failed attempts since the last message that was sent, and dead notifications in a row.
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
    # Time of the last claim: targets take turns.
    sa.Column("claimed", UtcTime),
    sqlite_autoincrement=True,
)
# Names are unique per user: the store checks them while it holds the lock of the user. With a unique index, a new name
# would lock the target against the notifications of actions that end at the same time.
sa.Index("notification_targets_name", targets.c.user_uuid, targets.c.name)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("target_seq", SERIAL, sa.ForeignKey(targets.c.seq, ondelete="CASCADE"), nullable=False),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    # NULL until the first claim: the end of an action writes little. `suppressed` and `revision` are parts of it.
    sa.Column("payload", sa.JSON(none_as_null=True)),
    sa.Column("suppressed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("revision", sa.String(64)),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("due", UtcTime, nullable=False),
    # Without references: notifications have their own retention.
    sa.Column("action_uuid", Uuid, index=True),
    sa.Column("service_uuid", Uuid),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("ended", UtcTime),
    sa.Column("last_status", sa.Integer),
    sa.Column("error", sa.Text, nullable=False, server_default=""),
    sa.Column("notifier", sa.String(64)),
    sa.Column("token", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease_until", UtcTime),
    sqlite_autoincrement=True,
)

PENDING = notifications.c.state == sa.literal_column("'pending'")
DEAD = notifications.c.state == sa.literal_column("'dead'")
LEASED = notifications.c.lease_until.isnot(None)
_ENDED = notifications.c.ended.isnot(None)
_STATUS = notifications.c.revision.isnot(None)

sa.Index("notifications_of_target", notifications.c.target_seq, notifications.c.seq)
# Each claim searches for the due notifications of a target, and for its claimed notification.
partial_index("notifications_due", notifications.c.target_seq, notifications.c.due, notifications.c.seq, where=PENDING)
partial_index("notifications_leased", notifications.c.target_seq, where=LEASED)
partial_index("notifications_dead", notifications.c.target_seq, notifications.c.seq, where=DEAD)
# For the statuses of a commit.
partial_index("notifications_of_revision", notifications.c.revision, notifications.c.target_seq, where=_STATUS)
# For retention.
partial_index("notifications_ended", notifications.c.state, notifications.c.ended, where=_ENDED)

# Notifications that were sent or died, counted in the transaction of the event.
notification_totals = sa.Table(
    "notification_totals",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("state", sa.String(8), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)

# Failures that targets were told: equal ones are suppressed for a while.
repeats = sa.Table(
    "notification_repeats",
    metadata,
    # UUID of a service; name of an engine, with the verb `engine`; number of a group, with the verb `group`.
    sa.Column("subject", sa.String(64), primary_key=True),
    sa.Column("verb", sa.String(16), primary_key=True),
    sa.Column("target_seq", SERIAL, sa.ForeignKey(targets.c.seq, ondelete="CASCADE"), primary_key=True, index=True),
    sa.Column("reason_code", sa.String(32), primary_key=True),
    sa.Column("told", UtcTime, nullable=False),
    # Equal failures since then.
    sa.Column("suppressed", sa.Integer, nullable=False),
    # Only for engines: the target was told since that the engine is available again.
    sa.Column("is_over", sa.Boolean, nullable=False, server_default=sa.false()),
)


# Issuers of identity tokens that handlers name. Web processes request their keys, and a notifier fetches them.
issuers = sa.Table(
    "issuers",
    metadata,
    sa.Column("url", sa.String(255), primary_key=True),
    # JSON Web Key Set; empty: never fetched.
    sa.Column("keys", sa.Text, nullable=False, server_default=""),
    sa.Column("fetched", UtcTime),
    # Last attempt, and whether a web process has missed a key since.
    sa.Column("tried", UtcTime),
    sa.Column("wanted", sa.Boolean, nullable=False, server_default=sa.false()),
    # Why the last attempt failed, without secrets; empty: it did not.
    sa.Column("error", sa.Text, nullable=False, server_default=""),
)
