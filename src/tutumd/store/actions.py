"""Actions as the application sees them: listed, asked for, canceled, tried again, and what their runs told."""

from typing import Any

import sqlalchemy as sa

from tutumd.errors import NOT_FOUND, ConflictError, NotFoundError
from tutumd.model import Action, ActionState, LogLine, Origin, Page, Query, User, Verb
from tutumd.ports import Clock
from tutumd.store import pending_actions
from tutumd.store.database import Database
from tutumd.store.row_mapping import action_from, filtered, lock_service, select_actions, visible
from tutumd.store.tables import action_lines, actions, deliveries, services
from tutumd.store.wakeup import Wakeup

MAX_LINES = 1000


class SqlActions:
    """The part of Store of ports.py that is about actions."""

    def __init__(self, database: Database, clock: Clock, wakeup: Wakeup) -> None:
        """Take the database, the clock, and what wakes the workers of this process."""
        self._database = database
        self._clock = clock
        self._wakeup = wakeup

    def actions(self, viewer: User, query: Query) -> Page[Action]:
        """See ports.py."""
        columns = {
            "uuid": actions.c.uuid,
            "state": actions.c.state,
            "object": actions.c.service_uuid,
            "start_date": actions.c.created,
            "end_date": actions.c.ended,
        }
        statement = select_actions().join(services, services.c.uuid == actions.c.service_uuid).where(visible(viewer))
        page, count = filtered(statement, query, columns)
        with self._database.read() as connection:
            rows = connection.execute(page.order_by(actions.c.seq.desc())).all()
            total = connection.execute(count).scalar_one()
        return Page(objects=tuple(action_from(row, self._clock()) for row in rows), total=total)

    def action(self, viewer: User, uuid: str) -> Action:
        """See ports.py."""
        statement = select_actions().join(services, services.c.uuid == actions.c.service_uuid)
        with self._database.read() as connection:
            row = connection.execute(statement.where(actions.c.uuid == uuid, visible(viewer))).first()
        if row is None:
            raise NotFoundError(NOT_FOUND)
        return action_from(row, self._clock())

    def submit(self, service_uuid: str, verb: Verb, *, target: int | None, origin: Origin) -> Action:
        """See ports.py."""
        with self._database.write() as connection:
            service = lock_service(connection, service_uuid)
            new = pending_actions.new_action(
                service_uuid, service.engine, verb, target=target, origin=origin, now=self._clock()
            )
            uuid = _joinable(connection, service_uuid, verb, target)
            if uuid is None:
                if verb is not Verb.REDEPLOY:
                    pending_actions.close_all(connection, service_uuid)
                pending_actions.insert(connection, [new])
                uuid = str(new["uuid"])
            else:
                # A webhook may hold it back; who asks for it by hand wants it now.
                held = sa.and_(actions.c.uuid == uuid, actions.c.due > new["due"])
                connection.execute(sa.update(actions).where(held).values(due=new["due"]))
            if verb is Verb.SCALE and target is not None:
                connection.execute(
                    sa.update(services).where(services.c.uuid == service_uuid).values(target=target, fingerprint="")
                )
            row = connection.execute(select_actions().where(actions.c.uuid == uuid)).one()
            self._wakeup.tell_others(connection)
        self._wakeup.notify()
        return action_from(row, self._clock())

    def cancel(self, viewer: User, uuid: str) -> Action:
        """See ports.py."""
        with self._database.write() as connection:
            action = lock_action(connection, viewer, uuid)
            if not action.can_be_canceled:
                raise ConflictError(
                    f"the action is {action.state.value}: only a pending or running one can be canceled"
                )
            if action.state is ActionState.PENDING:
                values: dict[str, Any] = {
                    "state": ActionState.CANCELED.value,
                    "open": False,
                    "ended": self._clock(),
                    "reason": "canceled on request before it began",
                }
            else:
                values = {"cancel": True}
            connection.execute(sa.update(actions).where(actions.c.uuid == uuid).values(**values))
            if action.verb is Verb.SCALE:
                connection.execute(
                    sa.update(services).where(services.c.uuid == action.service_uuid).values(fingerprint="")
                )
            row = connection.execute(select_actions().where(actions.c.uuid == uuid)).one()
            self._wakeup.tell_others(connection)
        self._wakeup.notify()
        return action_from(row, self._clock())

    def retry(self, viewer: User, uuid: str, origin: Origin) -> Action:
        """See ports.py."""
        with self._database.write() as connection:
            old = lock_action(connection, viewer, uuid)
            if not old.can_be_retried:
                raise ConflictError(f"the action is {old.state.value}: only a failed or canceled one can be retried")
            service = lock_service(connection, old.service_uuid)
            amounts = amounts_of(connection, uuid) if old.verb is Verb.SCALEUP else ()
            caps = [most for _, most in amounts if most is not None]
            pending_actions.close_all(connection, old.service_uuid)
            new = pending_actions.new_action(
                old.service_uuid,
                service.engine,
                old.verb,
                target=None if old.verb is Verb.SCALEUP else old.target,
                amount=sum(amount for amount, _ in amounts),
                origin=origin,
                now=self._clock(),
            )
            inputs = {"tag": old.tag, "variables": dict(old.variables), "most": min(caps, default=None)}
            pending_actions.insert(connection, [{**new, **inputs, "open": False}])
            row = connection.execute(select_actions().where(actions.c.uuid == new["uuid"])).one()
            self._wakeup.tell_others(connection)
        self._wakeup.notify()
        return action_from(row, self._clock())

    def log_lines(self, viewer: User, action_uuid: str, after: int) -> tuple[LogLine, ...]:
        """See ports.py."""
        self.action(viewer, action_uuid)
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(action_lines)
                .where(action_lines.c.action_uuid == action_uuid, action_lines.c.seq > after)
                .order_by(action_lines.c.seq)
                .limit(MAX_LINES)
            ).all()
        return tuple(LogLine(number=row.seq, at=row.at, text=row.line) for row in rows)


def lock_action(connection: sa.Connection, viewer: User, uuid: str) -> Action:
    """Read an action that the viewer may see, and keep it as it is until the transaction ends."""
    service_uuid = connection.execute(
        sa.select(actions.c.service_uuid)
        .join(services, services.c.uuid == actions.c.service_uuid)
        .where(actions.c.uuid == uuid, sa.not_(services.c.terminated), visible(viewer))
    ).scalar()
    if service_uuid is None:
        raise NotFoundError(NOT_FOUND)
    lock_service(connection, service_uuid)
    return action_from(connection.execute(select_actions().where(actions.c.uuid == uuid)).one())


def amounts_of(connection: sa.Connection, action_uuid: str) -> tuple[tuple[int, int | None], ...]:
    """List what a SCALEUP is to add, each with the most that it may scale up to.

    What a retry brought from the action before it, then its calls in order.
    """
    action = connection.execute(
        sa.select(actions.c.seq, actions.c.amount, actions.c.most).where(actions.c.uuid == action_uuid)
    ).one()
    rows = connection.execute(
        sa.select(deliveries.c.amount, deliveries.c.most)
        .where(deliveries.c.action_seq == action.seq)
        .order_by(deliveries.c.seq)
    )
    brought = ((action.amount, action.most),) if action.amount else ()
    return (*brought, *((row.amount, row.most) for row in rows))


def _joinable(connection: sa.Connection, service_uuid: str, verb: Verb, target: int | None) -> str | None:
    """Find the pending action that already is what is wanted."""
    if verb is Verb.REDEPLOY:
        return pending_actions.open_actions(connection, [service_uuid]).get((service_uuid, verb))
    newest = connection.execute(
        sa.select(actions)
        .where(actions.c.service_uuid == service_uuid, actions.c.state == sa.literal_column("'Pending'"))
        .order_by(actions.c.seq.desc())
        .limit(1)
    ).first()
    if newest is not None and (newest.verb, newest.target) == (verb.value, target):
        return str(newest.uuid)
    return None
