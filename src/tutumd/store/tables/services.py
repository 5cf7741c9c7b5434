"""Tables of engines, services, containers and webhook handlers."""

import sqlalchemy as sa

from tutumd.store.tables.schema import SERIAL, UtcTime, Uuid, metadata, partial_index

services = sa.Table(
    "services",
    metadata,
    sa.Column("uuid", Uuid, primary_key=True),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("engine_kind", sa.String(32), nullable=False),
    sa.Column("selector", sa.String(1024), nullable=False),
    sa.Column("name", sa.String(255), nullable=False, index=True),
    sa.Column("stack", sa.String(255), nullable=False),
    # Other names of the service, as reported by the engine.
    sa.Column("full_name", sa.String(1024), nullable=False, server_default=""),
    sa.Column("alias", sa.String(1024), nullable=False, server_default=""),
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
    # Sentences about the service in the response to a call for a redeploy, one per line.
    sa.Column("notes", sa.Text, nullable=False, server_default=""),
    # As `notes`, for a call that begins a redeploy without a tag.
    sa.Column("left_tags", sa.Text, nullable=False, server_default=""),
    # Labels that configure the service, as people set them: pairs of name and value.
    sa.Column("settings", sa.JSON, nullable=False, server_default="[]"),
    # Sentence that says why it cannot be rolled back; empty if it can.
    sa.Column("rollback_refusal", sa.Text, nullable=False, server_default=""),
    # Stack for groups, if it is not `stack`, and the names of the services of that stack that it depends on.
    sa.Column("part_of", sa.String(255), nullable=False, server_default=""),
    sa.Column("after", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("autorestart", sa.String(16), nullable=False, server_default="OFF"),
    sa.Column("variables", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("deployed", UtcTime),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("unbound", UtcTime),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    # Increased by each claim and each end of an action: an earlier look at the engine is then out of date.
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
    # For the present containers, and for the oldest gone containers.
    sa.Index("containers_of_service", "service_uuid", "present", "stopped"),
)

# Services with a changed handler or open action. Triggers write the table, on SQLite only (handler_lookup.py).
changed_services = sa.Table(
    "changed_services",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True),
    sa.Column("service_uuid", Uuid, nullable=False),
)


handlers = sa.Table(
    "handlers",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    # NULL: the handler is a group (`groups`).
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE"), index=True),
    # The group for which the handler stands: a call of the group is a call of one such handler of each service. Nobody
    # knows its UUID, and no list of handlers has it.
    sa.Column("group_seq", sa.BigInteger, sa.ForeignKey("handlers.seq", ondelete="CASCADE")),
    sa.Column("name", sa.String(255)),
    sa.Column("operation", sa.String(16), nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    # Fields beyond the specification, as JSON. `version` changes with each change of the fields.
    sa.Column("options", sa.Text, nullable=False, server_default="{}"),
    sa.Column("version", sa.Integer, nullable=False, server_default="0"),
    # Updated with each call only if the handler has such a limit.
    sa.Column("uses", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("rate_tat", sa.BigInteger, nullable=False, server_default="0"),
    # Updated later, see delivery_log.py.
    sa.Column("calls", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("last_called", UtcTime),
    sa.Column("old_uuid", Uuid),
    sa.Column("old_until", UtcTime),
    sa.Column("old_called", UtcTime),
    sa.Column("old_address", sa.String(64)),
    # Hash of the dashboard form that created it.
    sa.Column("form_sha256", sa.String(64)),
    # The creator: the number of handlers per creator is limited.
    sa.Column("maker_uuid", Uuid, index=True),
    sa.UniqueConstraint("old_uuid", name="handlers_old_uuid"),
    # A form that is sent twice creates one handler or group.
    partial_index(
        "handlers_of_form", "service_uuid", "form_sha256", unique=True, where=sa.text("form_sha256 IS NOT NULL")
    ),
    partial_index(
        "groups_of_form",
        "maker_uuid",
        "form_sha256",
        unique=True,
        where=sa.text("form_sha256 IS NOT NULL AND service_uuid IS NULL"),
    ),
    partial_index(
        "handlers_of_group", "group_seq", "service_uuid", unique=True, where=sa.text("group_seq IS NOT NULL")
    ),
    sqlite_autoincrement=True,
)

# What a group has besides the fields of a handler (`Group`).
groups = sa.Table(
    "groups",
    metadata,
    sa.Column(
        "handler_seq",
        sa.BigInteger,
        sa.ForeignKey("handlers.seq", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False, index=True),
    # The fields of `GroupSelector`.
    sa.Column("selector", sa.JSON, nullable=False),
    sa.Column("sequence", sa.String(16), nullable=False),
    sa.Column("on_failure", sa.String(16), nullable=False),
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
    # `error` gives the reason why its worker has parked it: its actions wait. Otherwise, `error` concerns some services
    # only.
    sa.Column("away", sa.Boolean, nullable=False, server_default=sa.false()),
    # Why it is away, as `encode_reasons` writes it.
    sa.Column("faults", sa.Text, nullable=False, server_default=""),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("is_shared", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("hint", sa.Text, nullable=False, server_default=""),
)

# Services whose redeploys are held. A row whose `until` has passed has no effect.
service_holds = sa.Table(
    "service_holds",
    metadata,
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE"), primary_key=True),
    # NULL: until somebody resumes the service.
    sa.Column("until", UtcTime),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by", sa.String(255), nullable=False),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("is_of_rollback", sa.Boolean, nullable=False),
)

# Freeze windows (`FreezeWindow`) of a service, of a stack, or of the server if both are NULL.
freeze_windows = sa.Table(
    "freeze_windows",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
    sa.Column("uuid", Uuid, nullable=False, unique=True),
    sa.Column("user_uuid", Uuid, sa.ForeignKey("users.uuid", ondelete="CASCADE"), nullable=False),
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE")),
    sa.Column("stack", sa.String(255)),
    sa.Column("begins", sa.String(16), nullable=False),
    sa.Column("ends", sa.String(16), nullable=False),
    sa.Column("tz", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)

# The images that a service ran (`ServiceImage`). The newest row of a service is the image that it runs.
service_images = sa.Table(
    "service_images",
    metadata,
    sa.Column("service_uuid", Uuid, sa.ForeignKey("services.uuid", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("previous", sa.Integer),
    sa.CheckConstraint("previous < number"),
    sa.Column("is_verified", sa.Boolean, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("digest", sa.String(128), nullable=False),
    sa.Column("image_id", sa.String(128), nullable=False),
    sa.Column("platform", sa.String(64), nullable=False),
    sa.Column("version", sa.String(255), nullable=False),
    sa.Column("revision", sa.String(255), nullable=False),
    sa.Column("seal", sa.String(64), nullable=False),
    sa.Column("first_success", UtcTime, nullable=False),
    sa.Column("last_success", UtcTime, nullable=False),
    sa.Column("action_uuid", Uuid),
    sa.Column("requested_by", sa.String(512), nullable=False),
)

# The worker that discovers the services of an engine instance. The worker renews this lease; other workers do not
# discover.
discoveries = sa.Table(
    "discoveries",
    metadata,
    sa.Column("engine", sa.String(64), primary_key=True),
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("lease_until", UtcTime, nullable=False),
)

# Maximum number of actions that a worker performs in parallel on an engine instance. Renewed with the worker's
# heartbeat.
worker_slots = sa.Table(
    "worker_slots",
    metadata,
    sa.Column("worker", sa.String(64), primary_key=True),
    sa.Column("engine", sa.String(64), primary_key=True),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("last_heartbeat", UtcTime, nullable=False),
)

# Images, by digest, that runs pulled to an engine and that did not exist there before. Only these images are removed
# later.
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
