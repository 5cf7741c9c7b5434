"""The store's freeze windows, for the application."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime

import sqlalchemy as sa

from tutumd.errors import NOT_FOUND, ConflictError, NotFoundError
from tutumd.model import ActionState, AuditEvent, Page, Query, User, Verb
from tutumd.model.freeze import MAX_WINDOWS, FreezeWindow, NewFreezeWindow, frozen_until, is_over
from tutumd.store.objects import audit
from tutumd.store.objects.row_mapping import Filter, Row, check_scope, read_one, read_page, read_service, visible_to
from tutumd.store.queue import holds
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.sql import StorePart
from tutumd.store.tables import LIVE, actions, freeze_windows, new_uuid, services, users

_c = freeze_windows.c
_BATCH = 200
"""Services in one statement: databases limit its parameters, and each service may have 60 windows of its own."""
_WAITING = sa.select(actions.c.service_uuid).where(
    LIVE, actions.c.state == ActionState.PENDING.value, actions.c.verb == Verb.REDEPLOY.value
)


class SqlFreezeWindows(StorePart):
    """The freeze windows part of Store in tutumd.ports."""

    def freeze_windows(self, viewer: User, query: Query) -> Page[FreezeWindow]:
        filters: dict[str, Filter] = {
            "uuid": _c.uuid,
            "service": lambda uuid: _acts_on_visible(viewer).where(services.c.uuid == uuid).exists(),
        }
        found = holds.select_windows().where(_is_visible(viewer))
        with self._database.read() as connection:
            return read_page(connection, found, query, [_c.seq], self._read_windows, filters)

    def add_freeze_window(self, viewer: User, new: NewFreezeWindow) -> FreezeWindow:
        now = self._clock()
        with self._wakeup.write(self._database) as (connection, woken):
            _lock_users(connection, viewer)
            check_scope(connection, viewer, new.service_uuid, new.stack)
            row = {"user_uuid": viewer.uuid, **asdict(new)}
            same = sa.select(_c.uuid).where(*(_c[name].is_not_distinct_from(value) for name, value in row.items()))
            uuid = connection.scalar(same)
            if uuid is None:
                _make_room(connection, viewer, new, now)
                uuid = new_uuid()
                connection.execute(sa.insert(freeze_windows).values(uuid=uuid, created=now, **row))
                if frozen_until(new, now):
                    woken |= apply_windows(connection, _c.uuid == uuid, now, removes=False)
                _record(connection, viewer, AuditEvent.FREEZE_ADDED, new, now)
            return self._read_windows([read_one(connection, holds.select_windows().where(_c.uuid == uuid))])[0]

    def remove_freeze_window(self, viewer: User, uuid: str) -> None:
        with self._wakeup.write(self._database) as (connection, woken):
            is_this = sa.and_(_c.uuid == uuid, _is_visible(viewer))
            window = holds.window_from(read_one(connection, holds.select_windows().where(is_this)))
            woken |= apply_windows(connection, _c.uuid == uuid, self._clock(), removes=True)
            _record(connection, viewer, AuditEvent.FREEZE_REMOVED, window, self._clock())

    def _read_windows(self, rows: Sequence[Row]) -> list[FreezeWindow]:
        return [replace(each, active_until=frozen_until(each, self._clock())) for each in map(holds.window_from, rows)]


def apply_windows(
    connection: sa.Connection, which: sa.ColumnElement[bool], now: datetime, *, removes: bool
) -> set[str]:
    """Let windows apply to pending redeploys, or remove them and what they hold. Returns the topics to publish.

    The services are locked, so that no call stores an action with the holds of before.
    """
    acts_on = sa.select(services.c.uuid, services.c.engine).where(holds.ACTS_ON, _c.user_uuid == users.c.uuid, which)
    concerned = {row.uuid: row.engine for row in connection.execute(acts_on)}
    lock_services(connection, concerned)
    if removes:
        connection.execute(sa.delete(freeze_windows).where(which))
    waiting = sorted(set(connection.scalars(_WAITING)) & concerned.keys())
    for start in range(0, len(waiting), _BATCH):
        holds.refresh(connection, waiting[start : start + _BATCH], now)
    return {concerned[uuid] for uuid in waiting}


def _lock_users(connection: sa.Connection, viewer: User) -> None:
    """Lock the viewer and the admins, so that of two simultaneous transactions the second counts the windows of the
    first, and the removal of the viewer waits.
    """
    wanted = sa.select(users.c.uuid).where(sa.or_(users.c.is_admin, users.c.uuid == viewer.uuid)).order_by(users.c.seq)
    if viewer.uuid not in connection.scalars(wanted.with_for_update(key_share=True)).all():
        raise NotFoundError(NOT_FOUND)


def _make_room(connection: sa.Connection, viewer: User, new: NewFreezeWindow, now: datetime) -> None:
    """Raise ConflictError if the viewer and the admins have `MAX_WINDOWS` for the same subject. If there are that many,
    remove those that are over.
    """
    others = holds.select_windows().where(
        _c.service_uuid.is_not_distinct_from(new.service_uuid),
        _c.stack.is_not_distinct_from(new.stack),
        sa.or_(users.c.is_admin, users.c.uuid == viewer.uuid),
    )
    windows = [holds.window_from(row) for row in connection.execute(others)]
    if len(windows) >= MAX_WINDOWS:
        over = [window.uuid for window in windows if is_over(window, now)]
        if not over:
            raise ConflictError(f"{new.subject} has {MAX_WINDOWS} freeze windows, and may not have more: remove some")
        connection.execute(sa.delete(freeze_windows).where(_c.uuid.in_(over)))


def _record(connection: sa.Connection, viewer: User, what: AuditEvent, window: NewFreezeWindow, now: datetime) -> None:
    service = None if window.service_uuid is None else read_service(connection, None, window.service_uuid)
    details = ", ".join(filter(None, ("" if service else f"of {window.subject}", window.span, window.reason)))
    audit.record(connection, viewer, what, now, service=service, details=details)


def _acts_on_visible(viewer: User) -> sa.Select[tuple[str]]:
    """Select the services that the viewer sees and on which a window acts."""
    return sa.select(services.c.uuid).where(sa.not_(services.c.terminated), visible_to(viewer), holds.ACTS_ON)


def _is_visible(viewer: User) -> sa.ColumnElement[bool]:
    if viewer.is_admin and not viewer.access.is_narrow:
        return sa.true()
    is_own = sa.false() if viewer.access.is_narrow else _c.user_uuid == viewer.uuid
    return sa.or_(holds.IS_SERVERWIDE, is_own, _acts_on_visible(viewer).exists())
