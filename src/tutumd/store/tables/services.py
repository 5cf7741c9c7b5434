"""Tables of services and their containers."""

import sqlalchemy as sa

from tutumd.store.tables.columns import SERIAL, UtcTime, Uuid
from tutumd.store.tables.schema import metadata

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

# Services of which a handler or the open action has changed. Triggers write it, on SQLite only (change_log.py).
changed_services = sa.Table(
    "changed_services",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True),
    sa.Column("service_uuid", Uuid, nullable=False),
)
