"""The store's deliveries: received calls and their results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from tutumd.errors import decode_reasons
from tutumd.model import (
    AuditEvent,
    Delivery,
    DeliveryOutcome,
    Growth,
    Operation,
    Page,
    Progress,
    Query,
    Reference,
    User,
)
from tutumd.store.objects import action_rows, audit
from tutumd.store.objects.action_rows import IS_OF_ACTION, actions_from, select_actions
from tutumd.store.objects.groups import select_groups
from tutumd.store.objects.handlers import select_handler
from tutumd.store.objects.row_mapping import (
    IS_GROUP,
    Row,
    caller_from,
    conditions,
    count,
    join_shown_handlers,
    read_one,
    read_service,
    value_from,
    visible_to,
)
from tutumd.store.sql import StorePart
from tutumd.store.tables import actions, deliveries, handlers, services


def select_deliveries(*, with_content: bool = False) -> sa.Select[Any]:
    """Select deliveries, each with its handler and the result of its action."""
    content = deliveries.c.content if with_content else sa.literal_column("'{}'").label("content")
    return join_shown_handlers(
        sa.select(
            *(column for column in deliveries.c if column is not deliveries.c.content),
            content,
            *(actions.c[name].label(f"action_{name}") for name in ("uuid", "state", "reason", "growth")),
            handlers.c.seq.label("handler_number"),
            handlers.c.name.label("handler_name"),
            IS_GROUP,
        ).outerjoin(actions, actions.c.seq == deliveries.c.action_seq),
        deliveries.c.handler_seq,
    )


def delivery_from(row: Row) -> Delivery:
    """Return the delivery of a row of `select_deliveries`."""
    raw = row.content or "{}"
    reason = row.action_reason
    if row.action_growth is not None and row.before is not None:
        reason = Growth(**row.action_growth).reason_for_call(reason, row.before, row.amount)
    return value_from(
        row,
        Delivery,
        number=row.seq,
        outcome=DeliveryOutcome(row.outcome),
        reasons=decode_reasons(row.reason),
        content=json.loads(raw),
        raw=raw,
        action_reason=reason,
        caller=caller_from(row.caller),
    )


class SqlDeliveries(StorePart):
    """The deliveries part of Store in tutumd.ports."""

    def deliveries(self, viewer: User, query: Query) -> Page[Delivery]:
        with self._database.read() as connection:
            if "action" in query.filters:
                visible = sa.select(actions.c.seq).join(services).where(visible_to(viewer))
                action = read_one(connection, visible.where(actions.c.uuid == query.filters["action"]))
                numbers = every = action_rows.seqs(action.seq)
            elif "group" in query.filters:
                numbers = every = _select_of_group(connection, viewer, query.filters)
            else:
                operations = _read_operations(connection, viewer, query.filters)
                numbers = select_numbers(query.filters, operations, query.offset + query.limit)
                every = select_numbers(query.filters, operations)
            found = numbers.subquery()

            of_page = sa.select(found.c.seq).order_by(found.c.seq.desc()).limit(query.limit).offset(query.offset)
            chosen = select_deliveries().where(deliveries.c.seq.in_(connection.scalars(of_page).all()))
            rows = connection.execute(chosen.order_by(deliveries.c.seq.desc()))
            return Page(objects=tuple(map(delivery_from, rows)), total=count(connection, every) if query.counts else 0)

    def delivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> Delivery:
        with self._database.read() as connection:
            handler = read_one(connection, select_handler(viewer, service_uuid, handler_uuid))
            is_chosen = sa.and_(deliveries.c.handler_seq == handler.seq, deliveries.c.seq == number)
            return delivery_from(read_one(connection, select_deliveries(with_content=True).where(is_chosen)))

    def record_redelivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> None:
        with self._database.write() as connection:
            audit.record(
                connection,
                viewer,
                AuditEvent.DELIVERY_REPEATED,
                self._clock(),
                service=read_service(connection, viewer, service_uuid),
                handler=read_one(connection, select_handler(viewer, service_uuid, handler_uuid)).seq,
                details=f"delivery {number}",
            )

    def progress(self, references: Sequence[Reference]) -> Mapping[Reference, Progress]:
        handler_seqs, action_seqs = ({reference[index] for reference in references} for index in (0, 1))
        with self._database.read() as connection:
            rows = connection.execute(select_actions().where(actions.c.seq.in_(action_seqs))).all()
            by_seq = {action.number: action for action in actions_from(connection, rows, self._clock())}
            growths = {row.seq: Growth(**row.growth) for row in rows if row.growth}
            called = sa.select(handlers.c.seq, handlers.c.service_uuid, handlers.c.options)
            present = {row.seq: row for row in connection.execute(called.where(handlers.c.seq.in_(handler_seqs)))}
        progress = {}
        for reference in references:
            action, handler = by_seq.get(reference.action_seq), present.get(reference.handler_seq)
            if action is not None and (handler is None or handler.service_uuid == action.service_uuid):
                if growth := growths.get(reference.action_seq):
                    action = replace(
                        action, reason=growth.reason_for_call(action.reason, reference.before, reference.amount)
                    )
                progress[reference] = Progress(action=action, options=json.loads(handler.options) if handler else {})
        return progress


def _select_of_group(connection: sa.Connection, viewer: User, filters: Mapping[str, str]) -> sa.Select[Any]:
    """Select the numbers of a group's deliveries, which have no actions of their own."""
    group = read_one(connection, select_groups(viewer).where(handlers.c.seq == int(filters["group"])))
    return sa.select(deliveries.c.seq).where(
        deliveries.c.handler_seq == group.seq, deliveries.c.action_seq.is_(None), *_conditions(filters)
    )


def _read_operations(connection: sa.Connection, viewer: User, filters: Mapping[str, str]) -> Sequence[str]:
    """Return the operations of the selected handlers. Raises NotFoundError if the viewer has no such service."""
    read_one(
        connection,
        sa.select(services.c.uuid).where(
            services.c.uuid == filters["service"], sa.not_(services.c.terminated), visible_to(viewer)
        ),
    )
    if "handler" not in filters:
        return tuple(Operation)
    return connection.scalars(
        sa.select(handlers.c.operation).where(
            handlers.c.seq == int(filters["handler"]), handlers.c.service_uuid == filters["service"]
        )
    ).all()


def select_numbers(
    filters: Mapping[str, str], operations: Sequence[str], limit: int | None = None
) -> sa.Select[tuple[int]]:
    """Select the numbers of deliveries of a service, unordered: the newest, at most `limit` for each of the two
    searches.

    No index maps a handler to its deliveries (see `tables`). A delivery with an action is found by the action, a
    delivery without an action by its handler. Both searches run from the newest to the oldest, and end at the limit.
    """
    ways = [_select_with_action(filters, operation).limit(limit) for operation in operations]
    ways.append(_select_without_action(filters, limit))
    found = sa.union_all(*(sa.select(way.subquery().c.seq) for way in ways)).subquery()
    return sa.select(found.c.seq)


def _select_with_action(filters: Mapping[str, str], operation: str) -> sa.Select[Any]:
    """Select by the actions of an operation: a call joins the newest of them, so that they have the order of its
    calls.
    """
    return (
        sa.select(deliveries.c.seq)
        .select_from(actions)
        .join(deliveries, IS_OF_ACTION)
        .where(actions.c.service_uuid == filters["service"], actions.c.verb == operation, *_conditions(filters))
        .order_by(actions.c.seq.desc(), deliveries.c.seq.desc())
    )


def _select_without_action(filters: Mapping[str, str], limit: int | None) -> sa.Select[Any]:
    """Select by handlers: for each handler, the deliveries from the last one that a page may need."""
    found = (
        sa.select(deliveries.c.seq)
        .join(handlers, handlers.c.seq == deliveries.c.handler_seq)
        .where(handlers.c.service_uuid == filters["service"], deliveries.c.action_seq.is_(None), *_conditions(filters))
        .order_by(deliveries.c.seq.desc())
    )
    if limit is None:
        return found
    nth = deliveries.alias("nth")
    start = (
        sa.select(nth.c.seq)
        .where(nth.c.handler_seq == handlers.c.seq, nth.c.action_seq.is_(None), *_conditions(filters, nth))
        .order_by(nth.c.seq.desc())
        .limit(1)
        .offset(limit - 1)
        .correlate(handlers)
    )
    return found.where(deliveries.c.seq >= sa.func.coalesce(start.scalar_subquery(), 0)).limit(limit)


def _conditions(filters: Mapping[str, str], table: Any = deliveries) -> Iterator[sa.ColumnElement[bool]]:
    return conditions(
        {name: value for name, value in filters.items() if name not in ("service", "group")},
        {"handler": table.c.handler_seq, "outcome": table.c.outcome, "number": table.c.seq},
    )
