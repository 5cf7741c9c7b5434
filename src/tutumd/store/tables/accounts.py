"""Tables of users, their credentials, and their acts."""

import sqlalchemy as sa

from tutumd.store.tables.schema import SERIAL, UtcTime, Uuid, metadata, partial_index

users = sa.Table(
    "users",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("is_admin", sa.Boolean, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    # Rate at which keys and handler URLs are created for this user (rate_limits.py).
    sa.Column("keys_tat", sa.BigInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_sha256", sa.String(64), primary_key=True),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("hint", sa.String(16), nullable=False),
    sa.Column("name", sa.String(50), nullable=False, server_default=""),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("service_uuid", Uuid),
    sa.Column("stack", sa.String(255)),
    sa.Column("expires", UtcTime),
    sa.Column("last_used", UtcTime),
    # Hash of the dashboard form that created it.
    sa.Column("form_sha256", sa.String(64)),
)
# A form that is sent twice creates one key.
sa.Index("api_keys_of_form", api_keys.c.form_sha256, unique=True)

# Sessions of the dashboard. Sessions that began with an API key end with it.
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

# Links that sign a user in once.
login_links = sa.Table(
    "login_links",
    metadata,
    sa.Column("token_sha256", sa.String(64), primary_key=True),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("expires", UtcTime, nullable=False),
)

# Who did what. The table has no references, so that entries outlive all objects.
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
    # For combined entries: their number, and the time of the last one.
    sa.Column("count", sa.BigInteger, nullable=False, server_default="1"),
    sa.Column("last_at", UtcTime),
    sa.Index("audit_of_time", "at"),
    sa.Index("audit_of_service_uuid", "service_uuid", "seq"),
    sa.Index("audit_of_service_name", "service_name", "seq"),
    sa.Index("audit_of_stack", "stack", "seq"),
    sa.Index("audit_of_user_name", "user_name", "seq"),
    sa.Index("audit_of_what", "what", "seq"),
    sa.Index("audit_of_via", "via", "seq"),
    sqlite_autoincrement=True,
)
_OF_ACTION = audit.c.action_uuid.isnot(None)
partial_index("audit_of_action", audit.c.action_uuid, where=_OF_ACTION)
