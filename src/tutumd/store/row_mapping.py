"""Rows into values, and the filters of lists into conditions."""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.errors import NOT_FOUND, NotFoundError
from tutumd.model import (
    Action,
    ActionState,
    Autorestart,
    Container,
    ContainerState,
    Definition,
    Port,
    Query,
    Service,
    ServiceState,
    User,
    Verb,
)
from tutumd.ports import HEARTBEAT_TIMEOUT
from tutumd.store.tables import actions, containers, deliveries, engines, services, users

Row = sa.Row[Any]

_WORKING = {
    Verb.REDEPLOY: ServiceState.REDEPLOYING,
    Verb.SCALEUP: ServiceState.SCALING,
    Verb.SCALE: ServiceState.SCALING,
    Verb.START: ServiceState.STARTING,
    Verb.STOP: ServiceState.STOPPING,
    Verb.TERMINATE: ServiceState.TERMINATING,
}

_active = actions.alias("active")
_admins = users.alias("admins")
SERVICE_STATE = sa.case(
    *((_active.c.verb == verb.value, state.value) for verb, state in _WORKING.items()),
    else_=services.c.state,
)
"""What a service does now: what the action in progress does to it, else what its engine shows."""


def select_services(viewer: User | None) -> sa.Select[Any]:
    """Select the services that the viewer may see (None: all), each with its present state."""
    joined = services.outerjoin(
        _active,
        sa.and_(_active.c.service_uuid == services.c.uuid, _active.c.state == sa.literal_column("'In progress'")),
    ).outerjoin(users, users.c.name == services.c.owner)
    first_admin = sa.select(_admins.c.name).where(_admins.c.is_admin).order_by(_admins.c.seq).limit(1)
    statement = sa.select(
        services,
        SERVICE_STATE.label("state_now"),
        users.c.uuid.isnot(None).label("owner_is_known"),
        sa.func.coalesce(users.c.name, first_admin.scalar_subquery(), "").label("owner_now"),
    ).select_from(joined)
    return statement.where(sa.not_(services.c.terminated), visible(viewer))


def visible(viewer: User | None) -> sa.ColumnElement[bool]:
    """Say which services the viewer may see: an admin all, a member the own ones."""
    if viewer is None or viewer.is_admin:
        return sa.true()
    return services.c.owner == viewer.name


def service_from(row: Row, container_uuids: tuple[str, ...]) -> Service:
    """Make the value of a row of `select_services`."""
    return Service(
        uuid=row.uuid,
        engine=row.engine,
        engine_kind=row.engine_kind,
        selector=row.selector,
        name=row.name,
        stack=row.stack,
        owner=row.owner_now,
        bound=row.bound,
        state=ServiceState(row.state_now),
        target=row.target,
        running=row.running,
        stopped=row.stopped,
        image_name=row.image_name,
        image_digest=row.image_digest,
        run_command=row.run_command,
        definition=None if row.definition is None else definition_from(row.definition),
        deployed=row.deployed,
        created=row.created,
        warnings=(*row.warnings, *_row_warnings(row)),
        containers=container_uuids,
    )


def _row_warnings(row: Row) -> Iterator[str]:
    if row.owner is not None and not row.owner_is_known:
        yield f"its owner {row.owner!r} is not a user here, so it belongs to the first admin"
    if not row.bound:
        yield f"engine {row.engine!r} does not show it at present: calls will fail until it is back"


def definition_from(document: Mapping[str, Any]) -> Definition:
    """Read a stored definition."""
    return Definition(
        command=document["command"],
        envvars=document["envvars"],
        working_dir=document["working_dir"],
        autorestart=Autorestart(document["autorestart"]),
    )


def definition_document(definition: Definition) -> dict[str, Any]:
    """Write a definition as what is stored."""
    return {
        "command": definition.command,
        "envvars": dict(definition.envvars),
        "working_dir": definition.working_dir,
        "autorestart": definition.autorestart.value,
    }


def container_from(row: Row) -> Container:
    """Make the value of a row of `containers`."""
    return Container(
        uuid=row.uuid,
        object_id=row.object_id,
        service_uuid=row.service_uuid,
        name=row.name,
        state=ContainerState(row.state),
        image_name=row.image_name,
        image_digest=row.image_digest,
        run_command=row.run_command,
        exit_code=row.exit_code,
        started=row.started,
        stopped=row.stopped,
        ports=tuple(Port(inner=inner, outer=outer, protocol=protocol) for inner, outer, protocol in row.ports),
    )


def select_actions() -> sa.Select[Any]:
    """Select actions, each with the number of calls that joined it."""
    count = (
        sa.select(sa.func.count())
        .select_from(deliveries)
        .where(deliveries.c.action_seq == actions.c.seq)
        .scalar_subquery()
    )
    seen = sa.select(engines.c.seen).where(engines.c.name == actions.c.engine).scalar_subquery()
    return sa.select(actions, count.label("delivery_count"), seen.label("engine_seen"))


def action_from(row: Row, now: datetime | None = None) -> Action:
    """Make the value of a row of `select_actions`; with the time, a pending one says if there is nobody to begin it."""
    return Action(
        uuid=row.uuid,
        service_uuid=row.service_uuid,
        verb=Verb(row.verb),
        state=ActionState.CANCELING if row.cancel and row.state == "In progress" else ActionState(row.state),
        target=row.target,
        created=row.created,
        started=row.started,
        ended=row.ended,
        address=row.address,
        user_agent=row.user_agent,
        deliveries=row.delivery_count,
        reason=row.reason or _waits_for(row, now),
        log_tail=row.log_tail,
        rolled_back=row.rolled_back,
        image_before=row.image_before,
        image_after=row.image_after,
        containers_before=tuple(row.containers_before),
        containers_after=tuple(row.containers_after),
        tag=row.tag,
        variables=row.variables,
    )


def _waits_for(row: Row, now: datetime | None) -> str:
    if now is None or row.state != ActionState.PENDING.value:
        return ""
    if row.engine_seen is not None and abs(now - row.engine_seen) <= HEARTBEAT_TIMEOUT:
        return ""
    return f"waiting: no worker serves engine {row.engine!r} now; it begins when one does"


def clean(text: str) -> str:
    """Make a text of an engine fit for every database: no NUL, no half characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def present_containers(connection: sa.Connection, service_uuids: list[str]) -> dict[str, tuple[str, ...]]:
    """Read the UUIDs of the present containers of each service."""
    found: dict[str, list[str]] = {}
    rows = connection.execute(
        sa.select(containers.c.service_uuid, containers.c.uuid)
        .where(containers.c.service_uuid.in_(service_uuids), containers.c.present)
        .order_by(containers.c.position)
    )
    for row in rows:
        found.setdefault(row.service_uuid, []).append(row.uuid)
    return {service: tuple(uuids) for service, uuids in found.items()}


_LOCK_SERVICES = (
    sa.select(services.c.uuid)
    .where(services.c.uuid.in_(sa.bindparam("uuids", expanding=True)))
    .order_by(services.c.uuid)
    .with_for_update(key_share=True)
)


def lock_services(connection: sa.Connection, uuids: Iterable[str]) -> None:
    """Keep others from queueing, claiming or ending anything for these services until the transaction ends.

    Every transaction that does such a thing takes these locks first, in the order of UUIDs, so that none deadlocks. On
    SQLite it is alone anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_LOCK_SERVICES, {"uuids": list(set(uuids))}).all()


def lock_free_services(connection: sa.Connection, uuids: Iterable[str]) -> set[str]:
    """Lock those services that nobody has locked, as `lock_services` does; answer the others. On PostgreSQL only."""
    wanted = sa.select(services.c.uuid).where(services.c.uuid.in_(list(uuids))).order_by(services.c.uuid)
    free = connection.execute(wanted.with_for_update(key_share=True, skip_locked=True)).scalars().all()
    return set(connection.execute(wanted).scalars()) - set(free)


def lock_service(connection: sa.Connection, uuid: str) -> Service:
    """Lock one service and read it. Raises NotFoundError."""
    lock_services(connection, [uuid])
    return read_service(connection, None, uuid)


def read_service(connection: sa.Connection, viewer: User | None, uuid: str) -> Service:
    """Read one service that the viewer may see. Raises NotFoundError."""
    row = connection.execute(select_services(viewer).where(services.c.uuid == uuid)).first()
    if row is None:
        raise NotFoundError(NOT_FOUND)
    return service_from(row, present_containers(connection, [uuid]).get(uuid, ()))


def filtered(
    statement: sa.Select[Any], query: Query, columns: Mapping[str, sa.ColumnElement[Any]]
) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Add a query's filters; answer the statement of its page and the one that counts all."""
    for name, value in query.filters.items():
        statement = statement.where(_condition(name, value, columns))
    count = sa.select(sa.func.count()).select_from(statement.order_by(None).subquery())
    return statement.limit(query.limit).offset(query.offset), count


def _condition(name: str, value: str, columns: Mapping[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[bool]:
    column, _, test = name.rpartition("__")
    if test == "startswith":
        return columns[column].startswith(value.lower(), autoescape=True)
    if test == "gte":
        return columns[column] >= datetime.fromisoformat(value)
    if test == "lte":
        return columns[column] <= datetime.fromisoformat(value)
    return columns[name] == (value.lower() if name in ("uuid", "service", "object") else value)


def new_uuid() -> str:
    """Make a version 4 UUID: 122 random bits, and the only form that the clients of 2015 take for an ID."""
    return str(uuid.uuid4())
