"""The store's lists of deliveries for the dashboard, which read no more than a page of them.

No index leads from a handler to its deliveries (see `tables`). One with an action is found by that, one without by
its handler. Both ways lead from the newest to the oldest, and end at the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from tutumd.model import Delivery, DeliveryOutcome, Operation, User
from tutumd.store.objects.action_deliveries import IS_OF_ACTION, count, seqs
from tutumd.store.objects.deliveries import delivery_from, select_deliveries
from tutumd.store.objects.row_mapping import read_one, visible_to
from tutumd.store.sql.database import StorePart
from tutumd.store.tables.actions import actions, deliveries
from tutumd.store.tables.services import handlers, services


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which deliveries of a service are wanted.

    Attributes:
        operations: Those of the handlers in question.
        handler_number, outcome: None: any.
        before: Number that they are below; None is no limit.
    """

    service_uuid: str
    operations: Sequence[Operation] = tuple(Operation)
    handler_number: int | None = None
    outcome: DeliveryOutcome | None = None
    before: int | None = None
    limit: int

    def is_below(self, number: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        """Return the condition on the number of a delivery."""
        return sa.true() if self.before is None else number < self.before

    def conditions(self, table: Any = deliveries) -> list[sa.ColumnElement[bool]]:
        """Return the other conditions on a delivery."""
        given = ((table.c.handler_seq, self.handler_number), (table.c.outcome, self.outcome and self.outcome.value))
        return [column == value for column, value in given if value is not None]


def select_newest(wanted: Wanted) -> sa.Select[Any]:
    """Select the numbers of the newest deliveries that are wanted, unordered, at most `limit` found in each way."""
    ways = [_select_with_action(wanted, operation) for operation in wanted.operations]
    ways.append(_select_without_action(wanted))
    found = sa.union_all(*(sa.select(way.subquery().c.seq) for way in ways)).subquery()
    return sa.select(found.c.seq)


def _select_with_action(wanted: Wanted, operation: Operation) -> sa.Select[Any]:
    """Select by the actions of an operation: a call joins the newest of them, so they have the order of its calls."""
    return (
        sa.select(deliveries.c.seq)
        .select_from(actions)
        .join(deliveries, IS_OF_ACTION)
        .where(actions.c.service_uuid == wanted.service_uuid, actions.c.verb == operation.value)
        .where(wanted.is_below(deliveries.c.seq), *wanted.conditions())
        .order_by(actions.c.seq.desc(), deliveries.c.seq.desc())
        .limit(wanted.limit)
    )


def _select_without_action(wanted: Wanted) -> sa.Select[Any]:
    """Select by handlers: of each, those from the last one that a page may need."""
    nth = deliveries.alias("nth")
    start = (
        sa.select(nth.c.seq)
        .where(nth.c.handler_seq == handlers.c.seq, nth.c.action_seq.is_(None))
        .where(wanted.is_below(nth.c.seq), *wanted.conditions(nth))
        .order_by(nth.c.seq.desc())
        .limit(1)
        .offset(wanted.limit - 1)
        .correlate(handlers)
    )
    found = (
        sa.select(deliveries.c.seq)
        .join(handlers, handlers.c.seq == deliveries.c.handler_seq)
        .where(handlers.c.service_uuid == wanted.service_uuid, deliveries.c.action_seq.is_(None))
        .where(wanted.is_below(deliveries.c.seq), *wanted.conditions())
        .where(deliveries.c.seq >= sa.func.coalesce(start.scalar_subquery(), 0))
    )
    return found.order_by(deliveries.c.seq.desc()).limit(wanted.limit)


class SqlDeliveryLists(StorePart):
    """The part of Dashboard in tutumd.ports that is about deliveries."""

    def service_deliveries(
        self,
        viewer: User,
        service_uuid: str,
        *,
        handler_number: int | None = None,
        outcome: DeliveryOutcome | None = None,
        before: int | None = None,
        limit: int = 30,
    ) -> tuple[Delivery, ...]:
        of_handler = sa.and_(handlers.c.service_uuid == services.c.uuid, handlers.c.seq == handler_number)
        service = (
            sa.select(handlers.c.operation)
            .select_from(services.outerjoin(handlers, of_handler))
            .where(services.c.uuid == service_uuid, sa.not_(services.c.terminated), visible_to(viewer))
        )
        wanted = Wanted(service_uuid=service_uuid, outcome=outcome, before=before, limit=limit)
        with self._database.read() as connection:
            operation = read_one(connection, service).operation
            if handler_number is not None:
                operations = [] if operation is None else [Operation(operation)]
                wanted = replace(wanted, handler_number=handler_number, operations=operations)
            return _read(connection, select_newest(wanted), limit)

    def action_deliveries(self, viewer: User, action_uuid: str, limit: int = 100) -> tuple[tuple[Delivery, ...], int]:
        action = (
            sa.select(actions.c.seq, count().label("deliveries"))
            .join(services, services.c.uuid == actions.c.service_uuid)
            .where(actions.c.uuid == action_uuid, visible_to(viewer))
        )
        with self._database.read() as connection:
            row = read_one(connection, action)
            numbers = seqs(row.seq).subquery()
            newest = sa.select(numbers.c.seq).order_by(numbers.c.seq.desc()).limit(limit)
            return _read(connection, newest, limit), row.deliveries

    def delivery_by_number(self, viewer: User, service_uuid: str, handler_number: int, number: int) -> Delivery:
        statement = (
            select_deliveries(with_content=True)
            .join(services, services.c.uuid == handlers.c.service_uuid)
            .where(deliveries.c.seq == number, deliveries.c.handler_seq == handler_number)
            .where(services.c.uuid == service_uuid, sa.not_(services.c.terminated), visible_to(viewer))
        )
        with self._database.read() as connection:
            return delivery_from(read_one(connection, statement))


def _read(connection: sa.Connection, numbers: sa.Select[tuple[int]], limit: int) -> tuple[Delivery, ...]:
    newest = select_deliveries().where(deliveries.c.seq.in_(numbers)).order_by(deliveries.c.seq.desc()).limit(limit)
    return tuple(delivery_from(row) for row in connection.execute(newest))
