"""The store's deliveries: what handlers received, and what became of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from tutumd.model import AuditEvent, Delivery, DeliveryOutcome, Growth, Page, Progress, Query, Reference, User
from tutumd.reasons import decode_reasons
from tutumd.store.objects import audit
from tutumd.store.objects.action_deliveries import IS_OF_ACTION
from tutumd.store.objects.action_rows import action_from, select_actions
from tutumd.store.objects.handlers import select_handler
from tutumd.store.objects.row_mapping import Row, read_one, read_page, read_service, value_from
from tutumd.store.sql.database import StorePart
from tutumd.store.tables.actions import actions, deliveries
from tutumd.store.tables.services import handlers


def select_deliveries(*, with_content: bool = False) -> sa.Select[Any]:
    """Select deliveries, each with its handler, and with what became of its action."""
    content = deliveries.c.content if with_content else sa.literal_column("'{}'").label("content")
    return (
        sa.select(
            *(column for column in deliveries.c if column is not deliveries.c.content),
            content,
            *(actions.c[name].label(f"action_{name}") for name in ("uuid", "state", "reason", "growth")),
            handlers.c.seq.label("handler_number"),
            handlers.c.name.label("handler_name"),
        )
        .outerjoin(actions, actions.c.seq == deliveries.c.action_seq)
        .outerjoin(handlers, handlers.c.seq == deliveries.c.handler_seq)
    )


def delivery_from(row: Row) -> Delivery:
    """Return the delivery of a row of `select_deliveries`."""
    raw = row.content or "{}"
    outcome = DeliveryOutcome(row.outcome)
    reason = row.action_reason
    if row.action_growth is not None and row.before is not None:
        reason = Growth(**row.action_growth).reason_for_call(reason, row.before, row.amount)
    return value_from(
        row,
        Delivery,
        number=row.seq,
        outcome=outcome,
        reasons=decode_reasons(row.reason),
        content=json.loads(raw),
        raw=raw,
        action_reason=reason,
    )


class SqlDeliveries(StorePart):
    """The part of Store in tutumd.ports that is about deliveries."""

    def deliveries(self, viewer: User, service_uuid: str, handler_uuid: str, query: Query) -> Page[Delivery]:
        with self._database.read() as connection:
            handler = read_one(connection, select_handler(viewer, service_uuid, handler_uuid))
            of_handler = deliveries.c.handler_seq == handler.seq
            # Two selects, one for each way to find them.
            joined = sa.select(deliveries.c.seq).select_from(actions).join(deliveries, IS_OF_ACTION)
            with_action = joined.where(actions.c.service_uuid == service_uuid, of_handler)
            without_action = sa.select(deliveries.c.seq).where(deliveries.c.action_seq.is_(None), of_handler)
            numbers = sa.union_all(with_action, without_action).subquery()

            def make(rows: Sequence[Row]) -> Iterator[Delivery]:
                of_page = deliveries.c.seq.in_([row.seq for row in rows])
                newest_first = select_deliveries().where(of_page).order_by(deliveries.c.seq.desc())
                return (delivery_from(row) for row in connection.execute(newest_first))

            return read_page(connection, sa.select(numbers.c.seq), query, [numbers.c.seq.desc()], make)

    def delivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> Delivery:
        with self._database.read() as connection:
            handler = read_one(connection, select_handler(viewer, service_uuid, handler_uuid))
            of_handler = deliveries.c.handler_seq == handler.seq
            row = read_one(
                connection, select_deliveries(with_content=True).where(deliveries.c.seq == number, of_handler)
            )
        return delivery_from(row)

    def record_redelivery(self, viewer: User, service_uuid: str, handler_uuid: str, number: int) -> None:
        with self._database.write() as connection:
            service = read_service(connection, viewer, service_uuid)
            handler = read_one(connection, select_handler(viewer, service_uuid, handler_uuid))
            audit.record(
                connection,
                viewer,
                AuditEvent.DELIVERY_REPEATED,
                self._clock(),
                service=service,
                handler=handler.seq,
                details=f"delivery {number}",
            )

    def progress(self, references: Sequence[Reference]) -> Mapping[Reference, Progress]:
        handler_seqs, action_seqs = ({reference[index] for reference in references} for index in (0, 1))
        with self._database.read() as connection:
            rows = connection.execute(select_actions().where(actions.c.seq.in_(action_seqs))).all()
            by_seq = {row.seq: action_from(row, self._clock()) for row in rows}
            growths = {row.seq: Growth(**row.growth) for row in rows if row.growth}
            columns = (handlers.c.seq, handlers.c.service_uuid, handlers.c.options)
            called = connection.execute(sa.select(*columns).where(handlers.c.seq.in_(handler_seqs)))
            present = {row.seq: row for row in called}
        progress = {}
        for reference in references:
            action, handler = by_seq.get(reference.action_seq), present.get(reference.handler_seq)
            if action is not None and (handler is None or handler.service_uuid == action.service_uuid):
                if growth := growths.get(reference.action_seq):
                    reason = growth.reason_for_call(action.reason, reference.before, reference.amount)
                    action = replace(action, reason=reason)
                options = {} if handler is None else json.loads(handler.options)
                progress[reference] = Progress(action=action, options=options)
        return progress
