"""The store's notification targets and notifications, for the application."""

from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError, about
from tutumd.model import (
    MAX_PENDING,
    AuditEvent,
    Event,
    NewTarget,
    Notification,
    NotificationState,
    Page,
    Query,
    Target,
    TargetKind,
    User,
)
from tutumd.store.objects import audit
from tutumd.store.objects.accounts import check_targets
from tutumd.store.objects.row_mapping import Filter, Row, check_scope, read_one, read_page, value_from, visible_to
from tutumd.store.queue.outbox import IN_SCOPE, about_target, new_row
from tutumd.store.queue.payloads import payload_of
from tutumd.store.sql import NOTIFICATIONS, StorePart
from tutumd.store.tables import (
    DEAD,
    EPOCH,
    LIVE,
    PENDING,
    actions,
    new_uuid,
    notifications,
    repeats,
    services,
    targets,
    users,
)

_FILTERS = {
    "uuid": notifications.c.uuid,
    "state": notifications.c.state,
    "target": targets.c.uuid,
    "action": notifications.c.action_uuid,
    "number": notifications.c.seq,
}
_DELETED_AT_ONCE = 1_000
_newer = notifications.alias("newer")
IS_REPLACED = sa.exists().where(
    *(_newer.c[name] == notifications.c[name] for name in ("revision", "target_seq", "service_uuid")),
    _newer.c.seq > notifications.c.seq,
)
"""A newer status of the same commit was queued: an older one must not be sent after it."""
_MAY_FOLLOW = sa.and_(
    ~IS_REPLACED,
    sa.or_(
        notifications.c.event != Event.ACTION_STARTED.value,
        sa.exists().where(actions.c.uuid == notifications.c.action_uuid, LIVE),
    ),
)


class SqlTargets(StorePart):
    """The targets part of Store in tutumd.ports."""

    def targets(self, viewer: User, query: Query) -> Page[Target]:
        filters: dict[str, Filter] = {
            "uuid": targets.c.uuid,
            "name": targets.c.name,
            "service": lambda uuid: sa.exists().where(services.c.uuid == uuid, visible_to(viewer), IN_SCOPE),
        }
        found = select_targets().where(_is_visible(viewer))
        with self._database.read() as connection:
            return read_page(connection, found, query, [targets.c.seq], partial(map, target_from), filters)

    def target(self, viewer: User, uuid: str) -> Target:
        with self._database.read() as connection:
            return target_from(_read(connection, viewer, uuid))

    def add_target(self, viewer: User, new: NewTarget) -> Target:
        uuid, now = new_uuid(), self._clock()
        with self._database.write() as connection:
            check_targets(connection, viewer.uuid, added=1)
            _check(connection, viewer, new, None)
            connection.execute(
                sa.insert(targets).values(uuid=uuid, user_uuid=viewer.uuid, created=now, **_columns(new))
            )
            return self._record(connection, viewer, AuditEvent.TARGET_CREATED, uuid)

    def change_target(self, viewer: User, uuid: str, change: Callable[[Target], NewTarget]) -> Target:
        with self._wakeup.write(self._database) as (connection, woken):
            check_targets(connection, viewer.uuid)
            row = _read(connection, viewer, uuid, locks=True)
            new = change(target_from(row))
            _check(connection, viewer, new, row)
            values = _columns(new)
            details = audit.describe_changes({name: getattr(row, name) for name in values}, values)
            if new.enabled and not row.enabled:
                values |= {"disabled_reason": "", "deaths": 0, "failures": 0}
                # While it was disabled, nobody queued the statuses that replace these.
                of_target = sa.and_(notifications.c.target_seq == row.seq, PENDING)
                connection.execute(sa.delete(notifications).where(of_target, ~_MAY_FOLLOW))
            connection.execute(sa.update(targets).where(targets.c.seq == row.seq).values(values))
            # The next failure is told at once: the target may have another scope, or another receiver.
            connection.execute(sa.delete(repeats).where(repeats.c.target_seq == row.seq))
            woken.add(NOTIFICATIONS)
            return self._record(connection, viewer, AuditEvent.TARGET_CHANGED, uuid, details)

    def delete_target(self, viewer: User, uuid: str) -> None:
        while True:  # in several transactions, so that calls are not delayed
            with self._database.write() as connection:
                row = _read(connection, viewer, uuid, locks=True)
                some = (
                    sa.select(notifications.c.seq).where(notifications.c.target_seq == row.seq).limit(_DELETED_AT_ONCE)
                )
                deleted = connection.execute(sa.delete(notifications).where(notifications.c.seq.in_(some))).rowcount
                if deleted < _DELETED_AT_ONCE:
                    self._record(connection, viewer, AuditEvent.TARGET_DELETED, uuid)
                    connection.execute(sa.delete(targets).where(targets.c.seq == row.seq))
                    return

    def notifications(self, viewer: User, query: Query) -> Page[Notification]:
        newest_first = [notifications.c.seq.desc()]
        found = _select_notifications(viewer)
        with self._database.read() as connection:
            return read_page(connection, found, query, newest_first, partial(map, notification_from), _FILTERS)

    def queue_test(self, viewer: User, target_uuid: str) -> Notification:
        now = self._clock()
        with self._wakeup.write(self._database) as (connection, woken):
            row = _read(connection, viewer, target_uuid)
            # Due before all others of its target, so that a backlog does not delay it.
            payload = payload_of(Event.TEST, now, about_target(row))
            new = {**new_row(row.seq, Event.TEST, now, payload=payload), "due": EPOCH}
            connection.execute(sa.insert(notifications).values(new))
            woken.add(NOTIFICATIONS)
            self._record(connection, viewer, AuditEvent.TARGET_TESTED, target_uuid)
            return _read_notification(connection, viewer, str(new["uuid"]))

    def retry_notification(self, viewer: User, uuid: str) -> Notification:
        with self._wakeup.write(self._database) as (connection, woken):
            notification = _read_notification(connection, viewer, uuid)
            if not self._queue_again(connection, notifications.c.uuid == uuid):
                if notification.state is NotificationState.DEAD:
                    raise ConflictError("the status is not sent again, because a newer one of the commit replaces it")
                raise ConflictError(f"the notification is {notification.state}: only a dead one can be sent again")
            woken.add(NOTIFICATIONS)
            self._record(
                connection,
                viewer,
                AuditEvent.NOTIFICATION_RETRIED,
                notification.target_uuid,
                f"notification {uuid}",
            )
            return _read_notification(connection, viewer, uuid)

    def retry_dead(self, viewer: User, target_uuid: str) -> int:
        with self._wakeup.write(self._database) as (connection, woken):
            row = _read(connection, viewer, target_uuid, locks=True)
            newest = (
                sa.select(notifications.c.seq)
                .where(notifications.c.target_seq == row.seq, DEAD)
                .order_by(notifications.c.seq.desc())
                .limit(max(0, MAX_PENDING - row.pending))
            )
            number = self._queue_again(connection, notifications.c.seq.in_(newest))
            woken.add(NOTIFICATIONS)
            self._record(connection, viewer, AuditEvent.NOTIFICATION_RETRIED, target_uuid, f"notifications: {number}")
            return number

    def _queue_again(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
        """Queue dead notifications, except statuses that newer ones replace, and starts of ended actions."""
        again = {"state": NotificationState.PENDING.value, "attempts": 0, "ended": None, "due": self._clock()}
        done = connection.execute(sa.update(notifications).where(DEAD, which, _MAY_FOLLOW).values(**again))
        return int(done.rowcount)

    def _record(
        self, connection: sa.Connection, viewer: User, what: AuditEvent, uuid: str, details: str = ""
    ) -> Target:
        """Record what the viewer did with a target, and return the target."""
        target = target_from(_read(connection, viewer, uuid))
        named = f"{target.name} ({target.kind})"
        audit.record(connection, viewer, what, self._clock(), details="; ".join(filter(None, (named, details))))
        return target


def select_targets(*, counts: bool = True) -> sa.Select[Any]:
    """Select targets with their owners, their services as their owners see them, and how many of their notifications
    are pending or dead.

    Args:
        counts: False: 0 instead of the numbers, which may be large and take time to count.
    """
    is_seen = sa.and_(sa.not_(services.c.terminated), sa.or_(users.c.is_admin, services.c.owner == users.c.name))
    of_service = sa.select(services.c.full_name).where(services.c.uuid == targets.c.service_uuid, is_seen)
    of_target = sa.select(sa.func.count()).where(notifications.c.target_seq == targets.c.seq)
    return sa.select(
        targets,
        users.c.name.label("owner"),
        users.c.is_admin.label("owner_is_admin"),
        of_service.scalar_subquery().label("service_name"),
        *(
            (of_target.where(state).scalar_subquery() if counts else sa.literal(0)).label(name)
            for name, state in (("pending", PENDING), ("dead", DEAD))
        ),
    ).join(users, users.c.uuid == targets.c.user_uuid)


def target_from(row: Row) -> Target:
    """Return the target of a row of `select_targets`."""
    # A later release may know other events.
    events = tuple(Event(each) for each in row.events if each in set(Event))
    return value_from(row, Target, number=row.seq, kind=TargetKind(row.kind), events=events)


def _is_visible(viewer: User) -> sa.ColumnElement[bool]:
    """Return the condition that a target is the viewer's own, and is covered by their credentials."""
    conditions = [targets.c.user_uuid == viewer.uuid]
    if viewer.access.service_uuid is not None:
        conditions.append(targets.c.service_uuid == viewer.access.service_uuid)
    if viewer.access.stack is not None:
        of_stack = sa.select(services.c.uuid).where(services.c.stack == viewer.access.stack)
        conditions.append(sa.or_(targets.c.stack == viewer.access.stack, targets.c.service_uuid.in_(of_stack)))
    return sa.and_(*conditions)


def _read(connection: sa.Connection, viewer: User, uuid: str, *, locks: bool = False) -> Row:
    found = select_targets().where(targets.c.uuid == uuid, _is_visible(viewer))
    return read_one(connection, found.with_for_update(of=targets, key_share=True) if locks else found)


def _check(connection: sa.Connection, viewer: User, new: NewTarget, before: Row | None) -> None:
    """Check the name and the scope of a new or changed target of a locked user."""
    same = sa.select(targets.c.seq).where(targets.c.user_uuid == viewer.uuid, targets.c.name == new.name)
    if connection.scalar(same) not in (None, before and before.seq):
        with about("name"):
            raise ConflictError(f"you have a notification target {new.name!r} already: choose another name")
    if before is None or (before.service_uuid, before.stack) != (new.service_uuid, new.stack):
        check_scope(connection, viewer, new.service_uuid, new.stack)


def _columns(new: NewTarget) -> dict[str, Any]:
    return {
        "name": new.name,
        "kind": new.kind.value,
        "settings": dict(new.settings),
        "events": [event.value for event in new.events],
        "service_uuid": new.service_uuid,
        "stack": new.stack,
        "include_log": new.include_log,
        "per_group_call": new.per_group_call,
        "repeat_s": new.repeat_s,
        "enabled": new.enabled,
    }


def _select_notifications(viewer: User) -> sa.Select[Any]:
    return (
        sa.select(
            notifications,
            targets.c.uuid.label("target_uuid"),
            targets.c.name.label("target_name"),
            services.c.full_name,
        )
        .join(targets, targets.c.seq == notifications.c.target_seq)
        .outerjoin(services, services.c.uuid == notifications.c.service_uuid)
        .where(_is_visible(viewer))
    )


def _read_notification(connection: sa.Connection, viewer: User, uuid: str) -> Notification:
    return notification_from(read_one(connection, _select_notifications(viewer).where(notifications.c.uuid == uuid)))


def notification_from(row: Row, target: Target | None = None) -> Notification:
    """Return the notification of a row. Without `target`, the row has `target_uuid` and `target_name`."""
    return value_from(
        row,
        Notification,
        number=row.seq,
        event=Event(row.event),
        state=NotificationState(row.state),
        due=max(row.due, row.created),
        payload=row.payload or {},
        target_uuid=target.uuid if target else row.target_uuid,
        target_name=target.name if target else row.target_name,
        service_name="" if target else row.full_name or "",
    )
