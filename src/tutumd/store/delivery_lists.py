"""The store's lists of deliveries for the dashboard."""

from dataclasses import replace

import sqlalchemy as sa

from tutumd.model import Delivery, DeliveryOutcome, Operation, User
from tutumd.store import action_deliveries
from tutumd.store.database import StorePart
from tutumd.store.delivery_rows import delivery_from, select_deliveries
from tutumd.store.newest_deliveries import Wanted, select_newest
from tutumd.store.row_mapping import read_one, visible_to
from tutumd.store.tables.actions import actions
from tutumd.store.tables.deliveries import deliveries
from tutumd.store.tables.handlers import handlers
from tutumd.store.tables.services import services


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
            return _read(connection, select_newest(connection, wanted), limit)

    def action_deliveries(self, viewer: User, action_uuid: str, limit: int = 100) -> tuple[tuple[Delivery, ...], int]:
        action = (
            sa.select(actions.c.seq, action_deliveries.count(actions.c.seq).label("deliveries"))
            .join(services, services.c.uuid == actions.c.service_uuid)
            .where(actions.c.uuid == action_uuid, visible_to(viewer))
        )
        with self._database.read() as connection:
            row = read_one(connection, action)
            numbers = action_deliveries.seqs(row.seq).subquery()
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
