"""The store's holds of services, and the actions that wait because of a hold or a freeze window."""

from datetime import datetime

import sqlalchemy as sa

from tutumd.model import Action, ActionState, AuditEvent, Service, User
from tutumd.store.objects import audit
from tutumd.store.objects.action_rows import actions_from, select_actions
from tutumd.store.objects.row_mapping import read_service, visible_to
from tutumd.store.queue import holds
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.sql.database import StorePart
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.actions import LIVE, actions

_MAX_LISTED = 100


class SqlHolds(StorePart):
    """The part of Store in tutumd.ports about holds."""

    _wakeup: Wakeup

    def hold(self, viewer: User, service_uuid: str, *, until: datetime | None, reason: str) -> Service:
        now = self._clock()
        with self._wakeup.write(self._database) as (connection, _):
            lock_services(connection, [service_uuid])
            service = read_service(connection, viewer, service_uuid)
            holds.hold_service(
                connection, service_uuid, until=until, reason=reason, by=viewer.name, is_of_rollback=False, now=now
            )
            details = (f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until resumed") + (reason and f": {reason}")
            audit.record(connection, viewer, AuditEvent.SERVICE_HELD, now, service=service, details=details)
            return read_service(connection, viewer, service_uuid, now)

    def resume(self, viewer: User, service_uuid: str) -> Service:
        now = self._clock()
        with self._wakeup.write(self._database) as (connection, woken):
            lock_services(connection, [service_uuid])
            service = read_service(connection, viewer, service_uuid)
            if holds.resume_service(connection, service_uuid, now):
                woken.add(service.engine)
                audit.record(connection, viewer, AuditEvent.SERVICE_RESUMED, now, service=service)
            return read_service(connection, viewer, service_uuid, now)

    def held_actions(self, viewer: User) -> tuple[Action, ...]:
        now = self._clock()
        is_pending = sa.and_(LIVE, actions.c.state == ActionState.PENDING.value)
        held = select_actions().where(visible_to(viewer), is_pending, holds.lasting_holds(now).exists())
        with self._database.read() as connection:
            return actions_from(connection, connection.execute(held.order_by(actions.c.seq).limit(_MAX_LISTED)), now)
