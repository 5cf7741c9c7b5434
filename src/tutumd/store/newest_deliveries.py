"""How the newest deliveries of a service are found, reading no more than a page of them.

No index leads from a handler to its deliveries (see `tables`). One with an action is found by that, one without by
its handler. Both ways lead from the newest to the oldest, and end at the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tutumd.model import DeliveryOutcome, Operation
from tutumd.store.action_deliveries import IS_UNFILED
from tutumd.store.tables.actions import actions
from tutumd.store.tables.deliveries import action_deliveries, deliveries
from tutumd.store.tables.handlers import handlers


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


def select_newest(connection: sa.Connection, wanted: Wanted) -> sa.Select[Any]:
    """Select the numbers of the newest deliveries that are wanted, unordered, at most `limit` found in each way."""
    is_sqlite = connection.dialect.name == "sqlite"
    ways = [_select_with_action(wanted, operation, is_sqlite) for operation in wanted.operations]
    if is_sqlite:
        ways.append(_select_unfiled(wanted))
    ways.append(_select_without_action(wanted))
    found = sa.union_all(*(sa.select(way.subquery().c.seq) for way in ways)).subquery()
    return sa.select(found.c.seq)


def _select_with_action(wanted: Wanted, operation: Operation, is_sqlite: bool) -> sa.Select[Any]:
    """Select by the actions of an operation: a call joins the newest of them, so they have the order of its calls."""
    by_action = action_deliveries if is_sqlite else deliveries
    found = sa.select(by_action.c.seq).select_from(actions.join(by_action, by_action.c.action_seq == actions.c.seq))
    conditions = wanted.conditions()
    if is_sqlite and conditions:
        found = found.join(deliveries, deliveries.c.seq == by_action.c.seq)
    return (
        found.where(actions.c.service_uuid == wanted.service_uuid, actions.c.verb == operation.value)
        .where(wanted.is_below(by_action.c.seq), *conditions)
        .order_by(actions.c.seq.desc(), by_action.c.seq.desc())
        .limit(wanted.limit)
    )


def _select_unfiled(wanted: Wanted) -> sa.Select[Any]:
    of_service = sa.select(actions.c.seq).where(actions.c.service_uuid == wanted.service_uuid)
    unfiled = sa.select(deliveries.c.seq).where(IS_UNFILED, deliveries.c.action_seq.in_(of_service))
    newest_first = unfiled.where(wanted.is_below(deliveries.c.seq), *wanted.conditions())
    return newest_first.order_by(deliveries.c.seq.desc()).limit(wanted.limit)


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
