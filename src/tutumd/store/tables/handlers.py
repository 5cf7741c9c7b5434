"""Tables of webhook handlers and the limits of their calls."""

import sqlalchemy as sa

from tutumd.store.tables.columns import SERIAL, UtcTime, Uuid
from tutumd.store.tables.schema import metadata

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
    # The user who made it, of whom each may make so many.
    sa.Column("maker_uuid", Uuid, index=True),
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
