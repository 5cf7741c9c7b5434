"""The store's image history, holds of services, and rollbacks: what they cancel, and the action that performs them."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError, Reason
from tutumd.model import (
    Action,
    ActionState,
    AuditEvent,
    Origin,
    Service,
    ServiceImage,
    User,
    Verb,
    find_target,
    read_wanted,
)
from tutumd.store.objects import audit
from tutumd.store.objects.action_rows import actions_from, read_action, select_actions
from tutumd.store.objects.actions import SqlActions, insert_actions, new_action, request_cancel
from tutumd.store.objects.image_rows import read_history
from tutumd.store.objects.row_mapping import read_service, visible_to
from tutumd.store.queue import holds
from tutumd.store.queue.snapshots import cancel_pending
from tutumd.store.sql import ENDS
from tutumd.store.tables import LIVE, actions, service_holds

_MAX_HELD = 100


class SqlRollbacks(SqlActions):
    """The part of Store in tutumd.ports about services, actions, images, rollbacks and holds."""

    def images(self, viewer: User, service_uuid: str) -> tuple[ServiceImage, ...]:
        with self._database.read() as connection:
            read_service(connection, viewer, service_uuid)
            return tuple(read_history(connection, service_uuid).values())

    def roll_back(
        self, viewer: User, service_uuid: str, *, image: str | None, hold: bool, reason: str, origin: Origin
    ) -> Action:
        with self._change_service(viewer, service_uuid) as (connection, woken, service, now):
            target, equal, new = _begin(
                connection,
                service,
                image,
                by=viewer.name,
                hold=hold,
                reason=reason,
                origin=origin,
                now=now,
                topics=woken,
            )
            if equal is None:
                insert_actions(connection, [new])
            uuid, joins = equal or str(new["uuid"]), " (joined an unfinished one)" if equal else ""
            audit.record(
                connection,
                viewer,
                AuditEvent.ACTION_SUBMITTED,
                now,
                service=service,
                action=uuid,
                details=f"ROLLBACK to {target}{joins}{'; redeploys are held' if hold else ''}",
            )
            return read_action(connection, uuid, now)

    def hold(self, viewer: User, service_uuid: str, *, until: datetime | None, reason: str) -> Service:
        with self._change_service(viewer, service_uuid) as (connection, _, service, now):
            holds.hold_service(
                connection, service_uuid, until=until, reason=reason, by=viewer.name, is_of_rollback=False, now=now
            )
            details = (f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until resumed") + (reason and f": {reason}")
            audit.record(connection, viewer, AuditEvent.SERVICE_HELD, now, service=service, details=details)
            return read_service(connection, viewer, service_uuid, now)

    def resume(self, viewer: User, service_uuid: str) -> Service:
        with self._change_service(viewer, service_uuid) as (connection, woken, service, now):
            if holds.resume_service(connection, service_uuid, now):
                woken.add(service.engine)
                audit.record(connection, viewer, AuditEvent.SERVICE_RESUMED, now, service=service)
            return read_service(connection, viewer, service_uuid, now)

    def held_actions(self, viewer: User) -> tuple[Action, ...]:
        now = self._clock()
        is_pending = sa.and_(LIVE, actions.c.state == ActionState.PENDING.value)
        held = select_actions().where(visible_to(viewer), is_pending, holds.lasting_holds(now).exists())
        with self._database.read() as connection:
            return actions_from(connection, connection.execute(held.order_by(actions.c.seq).limit(_MAX_HELD)), now)


def roll_back_by_call(
    connection: sa.Connection,
    service_uuid: str,
    *,
    by: str,
    hold: bool,
    origin: Origin,
    now: datetime,
    topics: set[str],
) -> dict[str, Any] | Reason | ConflictError:
    """Begin a rollback of a locked service to the `previous` of its newest image, and return the row of its action.

    A repeated alert must not go further back: the call is skipped during another rollback, and while the hold of a
    rollback lasts.

    Args:
        by: The handler that is called, for people.
        topics: The topics to publish are added.

    Returns:
        Otherwise the reason why the call is skipped, or the error why it is refused.
    """
    is_held = (
        sa.exists()
        .where(service_holds.c.service_uuid == service_uuid, service_holds.c.is_of_rollback)
        .where(holds.lasts(service_holds, now))
    )
    is_of_rollback = sa.and_(actions.c.service_uuid == service_uuid, actions.c.verb == Verb.ROLLBACK.value)
    held, unfinished = connection.execute(sa.select(is_held, sa.exists().where(is_of_rollback, LIVE))).one()
    if held or unfinished:
        return Reason("rolling-back" if unfinished else "rolled-back")
    service = read_service(connection, None, service_uuid)
    try:
        return _begin(connection, service, None, by=by, hold=hold, reason="", origin=origin, now=now, topics=topics)[-1]
    except ConflictError as error:
        return error


def _begin(
    connection: sa.Connection,
    service: Service,
    image: str | None,
    *,
    by: str,
    hold: bool,
    reason: str,
    origin: Origin,
    now: datetime,
    topics: set[str],
) -> tuple[ServiceImage, str | None, dict[str, Any]]:
    """Prepare a rollback of a locked service: cancel what it supersedes, and hold the service if `hold` is set. `image`
    and errors are as in `Store.roll_back`.

    Returns:
        The image, the UUID of an unfinished rollback to it, if any, and otherwise the row of the action to insert.
    """
    target = find_target(list(read_history(connection, service.uuid).values()), image, service.rollback_refusal)
    equal = _supersede(connection, service.uuid, target, now, topics)
    topics |= {service.engine, ENDS}
    if hold:
        reason = reason or f"rolled back to {target}"
        holds.hold_service(connection, service.uuid, until=None, reason=reason, by=by, is_of_rollback=True, now=now)
    new = new_action(service.uuid, service.engine, Verb.ROLLBACK, origin=origin, now=now)
    return target, equal, {**new, "image": asdict(target.wanted)}


def _supersede(
    connection: sa.Connection, service_uuid: str, target: ServiceImage, now: datetime, topics: set[str]
) -> str | None:
    """Cancel the pending redeploys and rollbacks of a locked service, except a rollback to the same image, whose UUID
    is returned, and request the end of a running one.
    """
    c = actions.c
    rollbacks = connection.execute(
        sa.select(c.uuid, c.image).where(
            c.service_uuid == service_uuid, LIVE, c.verb == Verb.ROLLBACK.value, sa.not_(c.cancel)
        )
    ).all()
    equal = next((row.uuid for row in rollbacks if read_wanted(row.image).number == target.number), None)
    is_superseded = c.verb.in_([Verb.REDEPLOY.value, Verb.ROLLBACK.value])
    others = sa.and_(c.service_uuid == service_uuid, is_superseded, c.uuid.is_distinct_from(equal))
    request_cancel(connection, others, now)
    topics |= cancel_pending(connection, others, now, f"superseded by a rollback to {target}")
    return equal
