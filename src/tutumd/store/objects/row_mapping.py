"""Rows of services and containers, the values read from them, and pages of values."""

import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from tutumd.errors import NOT_FOUND, NotFoundError, about
from tutumd.model import (
    Autorestart,
    Caller,
    Container,
    ContainerState,
    Definition,
    Page,
    Port,
    Query,
    Service,
    ServiceHold,
    ServiceState,
    User,
    Verb,
)
from tutumd.store.tables import actions, containers, handlers, service_holds, services, users

Row = sa.Row[Any]
T = TypeVar("T")
Filter = sa.ColumnElement[Any] | Callable[[str], sa.ColumnElement[bool]]
"""The column with which the value of a filter is compared, or a function that returns the condition of a UUID."""

_STATE_BY_VERB = {
    Verb.REDEPLOY: ServiceState.REDEPLOYING,
    Verb.ROLLBACK: ServiceState.REDEPLOYING,
    Verb.SCALEUP: ServiceState.SCALING,
    Verb.SCALE: ServiceState.SCALING,
    Verb.START: ServiceState.STARTING,
    Verb.STOP: ServiceState.STOPPING,
    Verb.TERMINATE: ServiceState.TERMINATING,
}

_running_action = actions.alias("running_action")
_admins = users.alias("admins")
SERVICE_STATE = sa.case(
    *((_running_action.c.verb == verb.value, state.value) for verb, state in _STATE_BY_VERB.items()),
    else_=services.c.state,
)
"""State of a service: from its action in progress, otherwise as its engine reported it."""


def value_from(row: Row, kind: type[T], /, **others: object) -> T:
    """Return a dataclass from `others` and the columns of a row that have the names of its fields."""
    names = (field.name for field in fields(cast(Any, kind)))
    return kind(**{name: getattr(row, name) for name in names if name not in others}, **others)


def read_one(
    connection: sa.Connection, statement: sa.Select[Any], parameters: Mapping[str, object] | None = None
) -> Row:
    """Return the only row of a statement.

    Raises:
        NotFoundError: There is no row.
    """
    row = connection.execute(statement, parameters).first()
    if row is None:
        raise NotFoundError(NOT_FOUND)
    return row


def visible_to(viewer: User | None) -> sa.ColumnElement[bool]:
    """Return the condition that the viewer may see a service: an admin (or None) sees all services, a member only their
    own.

    Credentials for one service or stack see nothing else.
    """
    if viewer is None:
        return sa.true()
    limits = (
        (services.c.owner, None if viewer.is_admin else viewer.name),
        (services.c.uuid, viewer.access.service_uuid),
        (services.c.stack, viewer.access.stack),
    )
    return sa.and_(sa.true(), *(column == value for column, value in limits if value is not None))


def check_scope(connection: sa.Connection, user: User, service_uuid: str | None, stack: str | None) -> None:
    """Raise NotFoundError if the user sees no part of a service or stack that a key or target is limited to."""
    for field, column, wanted, noun in (
        ("service", services.c.uuid, service_uuid, "service"),
        ("stack", services.c.stack, stack, "service of the stack"),
    ):
        found = sa.select(services.c.uuid).where(column == wanted, sa.not_(services.c.terminated), visible_to(user))
        if wanted is not None and connection.execute(found.limit(1)).first() is None:
            with about(field):
                raise NotFoundError(f"{user.name} has no {noun} {wanted!r}")


def select_services(viewer: User | None) -> sa.Select[Any]:
    """Select the services that the viewer may see, with their current state and owner."""
    has_action = sa.and_(
        _running_action.c.service_uuid == services.c.uuid, _running_action.c.state == sa.literal_column("'In progress'")
    )
    first_admin = sa.select(_admins.c.name).where(_admins.c.is_admin).order_by(_admins.c.seq).limit(1)
    return (
        sa.select(
            services,
            SERVICE_STATE.label("state_now"),
            users.c.uuid.isnot(None).label("owner_is_known"),
            sa.func.coalesce(users.c.name, first_admin.scalar_subquery(), "").label("owner_now"),
            *(service_holds.c[field.name].label(f"hold_{field.name}") for field in fields(ServiceHold)),
        )
        .select_from(services.outerjoin(_running_action, has_action).outerjoin(users, users.c.name == services.c.owner))
        .outerjoin(service_holds, service_holds.c.service_uuid == services.c.uuid)
        .where(sa.not_(services.c.terminated), visible_to(viewer))
    )


def read_service(connection: sa.Connection, viewer: User | None, uuid: str, now: datetime | None = None) -> Service:
    """Return a service. `now` is as in `service_from`.

    Raises:
        NotFoundError: It does not exist, or the viewer may not see it.
    """
    if viewer is None:
        row = read_one(connection, _ANY_SERVICE, {"service_uuid": uuid})
    else:
        row = read_one(connection, select_services(viewer).where(services.c.uuid == uuid))
    return service_from(row, present_containers(connection, [uuid]).get(uuid, ()), now)


_ANY_SERVICE = select_services(None).where(services.c.uuid == sa.bindparam("service_uuid"))


called_handlers = handlers.alias("called")


def join_shown_handlers(
    statement: "sa.Select[Any]", seq: sa.ColumnElement[int], *, outer: bool = True
) -> "sa.Select[Any]":
    """Join the handlers with a number; instead of the hidden handler of a group, join the group."""
    shown = sa.func.coalesce(called_handlers.c.group_seq, called_handlers.c.seq)
    joined = statement.join(called_handlers, called_handlers.c.seq == seq, isouter=outer)
    return joined.join(handlers, handlers.c.seq == shown, isouter=outer)


IS_GROUP = sa.and_(handlers.c.seq.isnot(None), handlers.c.service_uuid.is_(None)).label("is_group")
"""Whether a handler of `join_shown_handlers` is a group."""


def service_from(row: Row, container_uuids: tuple[str, ...], now: datetime | None = None) -> Service:
    """Return the service of a row of `select_services`, with the hold that it has at `now`; None: without a hold."""
    is_held = now is not None and row.hold_since is not None and (row.hold_until is None or row.hold_until > now)
    hold = {field.name: getattr(row, f"hold_{field.name}") for field in fields(ServiceHold)}
    return value_from(
        row,
        Service,
        owner=row.owner_now,
        state=ServiceState(row.state_now),
        definition=row.definition
        and Definition(**{**row.definition, "autorestart": Autorestart(row.definition["autorestart"])}),
        autorestart=Autorestart(row.autorestart),
        variables=tuple(row.variables),
        warnings=(*row.warnings, *_store_warnings(row)),
        containers=container_uuids,
        gone_since=None if row.bound else row.unbound,
        notes=(*row.left_tags.splitlines(), *row.notes.splitlines()),
        settings=tuple((name, value) for name, value in row.settings),
        after=tuple(row.after),
        hold=ServiceHold(**hold) if is_held else None,
    )


def _store_warnings(row: Row) -> Iterator[str]:
    if row.owner is not None and not row.owner_is_known:
        yield f"its owner {row.owner!r} is not a user here, so it belongs to the first admin"
    if not row.bound:
        yield f"engine {row.engine!r} does not show it at present: calls will fail until it is back"


_PRESENT_CONTAINERS = (
    sa.select(containers.c.service_uuid, containers.c.uuid)
    .where(containers.c.service_uuid.in_(sa.bindparam("service_uuids", expanding=True)), containers.c.present)
    .order_by(containers.c.position)
)


def present_containers(connection: sa.Connection, service_uuids: list[str]) -> dict[str, tuple[str, ...]]:
    """Return the UUIDs of the present containers by their service's UUID."""
    by_service: dict[str, tuple[str, ...]] = {}
    for row in connection.execute(_PRESENT_CONTAINERS, {"service_uuids": service_uuids}):
        by_service[row.service_uuid] = (*by_service.get(row.service_uuid, ()), row.uuid)
    return by_service


def caller_from(text: str | None) -> Caller | None:
    """Return the caller of a delivery from its JSON."""
    return Caller(**json.loads(text)) if text else None


def container_from(row: Row) -> Container:
    """Return the container of a row of `containers`."""
    return value_from(
        row,
        Container,
        state=ContainerState(row.state),
        ports=tuple(Port(inner=inner, outer=outer, protocol=protocol) for inner, outer, protocol in row.ports),
    )


def read_page(
    connection: sa.Connection,
    statement: sa.Select[Any],
    query: Query,
    order: Sequence[sa.ColumnElement[Any]],
    make_values: Callable[[Sequence[sa.Row[Any]]], Iterable[T]],
    filters: Mapping[str, Filter] | None = None,
) -> Page[T]:
    """Return one page of a statement's rows.

    Args:
        make_values: Function from the rows of the page to values.
        filters: Filters by their names, without suffixes such as `__gte`; None: the query's filters are ignored.
    """
    if filters is not None:
        statement = statement.where(*conditions(query.filters, filters))
    rows = connection.execute(statement.order_by(*order).limit(query.limit).offset(query.offset)).all()
    return Page(objects=tuple(make_values(rows)), total=count(connection, statement) if query.counts else 0)


def count(connection: sa.Connection, statement: sa.Select[Any]) -> int:
    """Return the number of rows of a statement."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(statement.subquery())).scalar_one())


def conditions(values: Mapping[str, str], filters: Mapping[str, Filter]) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions that the values of filters mean. `filters` is as in `read_page`."""
    for name, value in values.items():
        stem, _, suffix = name.rpartition("__")
        wanted = filters[name] if name in filters else filters[stem]
        compare, parse = _COMPARISONS.get(suffix, (operator.eq, _PARSERS.get(name, str)))
        yield wanted(value.lower()) if callable(wanted) else compare(wanted, parse(value))


_COMPARISONS: Mapping[str, tuple[Callable[[Any, Any], sa.ColumnElement[bool]], Callable[[str], Any]]] = {
    "startswith": (lambda column, value: column.startswith(value, autoescape=True), str.lower),
    "lt": (operator.lt, int),
    "gte": (operator.ge, datetime.fromisoformat),
    "lte": (operator.le, datetime.fromisoformat),
}
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("uuid", "service", "object"), str.lower),
    "handler": int,
}
