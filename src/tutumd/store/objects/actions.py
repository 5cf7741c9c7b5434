"""The store's actions and their logs, for the application."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConflictError
from tutumd.model import (
    Action,
    ActionState,
    AuditEvent,
    Growth,
    LogLine,
    Origin,
    Page,
    Phase,
    Query,
    User,
    Verb,
)
from tutumd.store.intake import action_inputs
from tutumd.store.objects import audit
from tutumd.store.objects.action_rows import MAX_LINES, actions_from, read_action, select_actions
from tutumd.store.objects.row_mapping import Row, read_one, read_page, read_service, visible_to
from tutumd.store.objects.services import SqlServices
from tutumd.store.queue import holds, leases
from tutumd.store.queue.snapshots import cancel_pending, lock_services, settle_target
from tutumd.store.sql import ENDS
from tutumd.store.tables import LIVE, OPEN, RUNNING, action_lines, actions, derived_uuid, new_uuid, services


def close_all(connection: sa.Connection, service_uuid: str, which: sa.ColumnElement[bool] = sa.true()) -> None:
    """Close the open ones of the actions of a service: they still run in their turn, but nothing can join them."""
    connection.execute(sa.update(actions).where(actions.c.service_uuid == service_uuid, OPEN, which).values(open=False))


def new_action(
    service_uuid: str,
    engine: str,
    verb: Verb,
    *,
    origin: Origin,
    now: datetime,
    target: int | None = None,
) -> dict[str, Any]:
    """Return the row of a new open action that is due immediately."""
    return {
        "uuid": new_uuid(),
        "service_uuid": service_uuid,
        "engine": engine,
        "verb": verb.value,
        "state": ActionState.PENDING.value,
        "open": True,
        "target": target,
        "cancel": False,
        "created": now,
        "due": now,
        "address": origin.address[:64],
        "user_agent": origin.user_agent[:512],
        "reason": "",
        "log_tail": "",
        "rolled_back": False,
        "containers_before": [],
        "containers_after": [],
        "token": 0,
        "attempts": 0,
        "journal": {},
        "tag": None,
        "variables": {},
        "skip_unchanged": None,
        "overrides": False,
    }


def insert_actions(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> Sequence[Row]:
    """Insert rows of `new_action`, and return the `uuid` and `seq` of each, and whether it `may_be_held`.

    Their services are locked. Holds and freeze windows apply to the redeploys.
    """
    columns = (actions.c.uuid, actions.c.seq, actions.c.service_uuid, actions.c.created, holds.MAY_BE_HELD)
    inserted = connection.execute(sa.insert(actions).returning(*columns), list(rows)).all()
    if held := [row.service_uuid for row in inserted if row.may_be_held]:
        holds.refresh(connection, held, inserted[0].created)
    return inserted


def request_cancel(connection: sa.Connection, which: sa.ColumnElement[bool], now: datetime) -> None:
    """Request the end of the running ones of the actions of a locked service.

    They are due: an action that waits for a retry ends immediately if it has changed nothing.
    """
    until = sa.case((actions.c.worker.is_(None), None), else_=actions.c.lease_until)
    connection.execute(sa.update(actions).where(which, RUNNING).values(cancel=True, due=now, lease_until=until))


_FILTERS = {
    "uuid": actions.c.uuid,
    "state": actions.c.state,
    "object": actions.c.service_uuid,
    "start_date": actions.c.created,
    "end_date": actions.c.ended,
    "number": actions.c.seq,
}


class SqlActions(SqlServices):
    """The actions part of Store in tutumd.ports."""

    def actions(self, viewer: User, query: Query) -> Page[Action]:
        with self._database.read() as connection:
            return read_page(
                connection,
                select_actions(counts_deliveries=query.counts).where(visible_to(viewer)),
                query,
                [actions.c.seq.desc()],
                lambda rows: actions_from(connection, rows, self._clock()),
                _FILTERS,
            )

    def action(self, viewer: User, uuid: str) -> Action:
        with self._database.read() as connection:
            return read_action(connection, uuid, self._clock(), viewer)

    def unfinished_actions(self, viewer: User, limit: int = 4) -> tuple[Action, ...]:
        # All that run are sorted here: with an index of all live actions, the database would read all waiting actions.
        seen = select_actions(counts_deliveries=False).where(visible_to(viewer))
        waiting = seen.where(LIVE, actions.c.state == ActionState.PENDING.value).order_by(actions.c.seq).limit(limit)
        with self._database.read() as connection:
            newest_first = sorted(connection.execute(seen.where(RUNNING)), key=lambda row: row.seq, reverse=True)
            return actions_from(connection, [*newest_first[:limit], *connection.execute(waiting)], self._clock())

    def submit(
        self,
        viewer: User,
        service_uuid: str,
        verb: Verb,
        *,
        target: int | None,
        origin: Origin,
        override: bool = False,
    ) -> Action:
        with self._change_service(viewer, service_uuid) as (connection, woken, service, now):
            woken.add(service.engine)
            joined = _find_joinable(connection, service_uuid, verb, target)
            details = f"{verb}{'' if target is None else f' to {target}'}{' (joined a pending one)' if joined else ''}"
            if joined is None:
                if verb is not Verb.REDEPLOY:
                    # Later calls still join a redeploy that is held, so that one run carries all of them out.
                    close_all(connection, service_uuid, ~holds.lasting_holds(now).exists())
                new = new_action(service_uuid, service.engine, verb, target=target, origin=origin, now=now)
                (inserted,) = insert_actions(connection, [{**new, "target_before": service.target}])
                uuid, seq = inserted.uuid, inserted.seq
            else:
                uuid, seq = joined
                # A debounced webhook may hold the action, but a person who submits it wants it now.
                holds.set_debounces(connection, {seq: None}, now)
                connection.execute(
                    sa.update(actions).where(actions.c.seq == seq, actions.c.skip_unchanged).values(skip_unchanged=None)
                )
            if override:
                holds.override(connection, seq, now)
                details += ", in spite of holds and freeze windows"
            if verb is Verb.SCALE and target is not None:
                connection.execute(
                    sa.update(services).where(services.c.uuid == service_uuid).values(target=target, fingerprint="")
                )
            audit.record(
                connection, viewer, AuditEvent.ACTION_SUBMITTED, now, service=service, action=uuid, details=details
            )
            return read_action(connection, uuid, now)

    def cancel(self, viewer: User, uuid: str) -> Action:
        with self._wakeup.write(self._database) as (connection, woken):
            action = _lock_action(connection, viewer, uuid, woken)
            if not action.can_be_canceled:
                raise ConflictError(
                    f"the action is {action.state.value}: only a pending or running one can be canceled"
                )
            now, this = self._clock(), actions.c.uuid == uuid
            if action.state is ActionState.PENDING:
                settle_target(connection, uuid, success=False)
                woken |= cancel_pending(connection, this, now, "canceled on request before it began")
            else:
                request_cancel(connection, this, now)
            self._record_action(connection, viewer, AuditEvent.ACTION_CANCELED, action, str(action.verb))
            return read_action(connection, uuid, self._clock())

    def abandon(self, viewer: User, uuid: str) -> Action:
        now = self._clock()
        with self._wakeup.write(self._database) as (connection, woken):
            action = _lock_action(connection, viewer, uuid, woken)
            woken |= leases.abandon(connection, uuid, viewer.name, now)
            self._record_action(connection, viewer, AuditEvent.ACTION_ABANDONED, action, str(action.verb))
            return read_action(connection, uuid, now)

    def retry(self, viewer: User, uuid: str, origin: Origin, form_sha256: str = "") -> Action:
        uuid_of_new = derived_uuid(f"{uuid} {form_sha256}") if form_sha256 else new_uuid()
        with self._wakeup.write(self._database) as (connection, woken):
            old = _lock_action(connection, viewer, uuid, woken)
            if not old.can_be_retried:
                raise ConflictError(f"the action is {old.state.value}: only a failed or canceled one can be retried")
            if connection.scalar(sa.select(sa.exists().where(actions.c.uuid == uuid_of_new))):
                return read_action(connection, uuid_of_new, self._clock())
            amounts = action_inputs.read(connection, uuid) if old.verb is Verb.SCALEUP else []
            # A failed SCALEUP may have kept some of its containers.
            kept = 0 if old.rolled_back else max(0, len(old.containers_after) - len(old.containers_before))
            growth = connection.scalar(sa.select(actions.c.growth).where(actions.c.uuid == uuid))
            amounts = action_inputs.without(amounts, kept, growth and Growth(**growth))
            close_all(connection, old.service_uuid)
            new = new_action(
                old.service_uuid,
                read_service(connection, None, old.service_uuid).engine,
                old.verb,
                target=None if old.verb is Verb.SCALEUP else old.target,
                origin=origin,
                now=self._clock(),
            )
            inputs = {
                "tag": old.tag,
                "variables": dict(old.variables),
                "skip_unchanged": old.skip_unchanged,
                "image": old.image and asdict(old.image),
            }
            (inserted,) = insert_actions(connection, [{**new, **inputs, "uuid": uuid_of_new, "open": False}])
            action_inputs.store(connection, {inserted.seq: amounts}, {inserted.seq})
            action = read_action(connection, uuid_of_new, self._clock())
            self._record_action(
                connection, viewer, AuditEvent.ACTION_RETRIED, action, f"{old.verb}, as action {old.uuid}"
            )
            return action

    def _record_action(
        self, connection: sa.Connection, viewer: User, what: AuditEvent, action: Action, details: str
    ) -> None:
        audit.record(
            connection,
            viewer,
            what,
            self._clock(),
            service=read_service(connection, viewer, action.service_uuid),
            action=action.uuid,
            details=details,
        )

    def log_lines(self, viewer: User, action_uuid: str, after: int) -> tuple[LogLine, ...]:
        self.action(viewer, action_uuid)
        of_action = sa.select(action_lines).where(action_lines.c.action_uuid == action_uuid)
        newer = of_action.where(action_lines.c.seq > after).order_by(action_lines.c.seq)
        # A later release may know other phases.
        return tuple(
            LogLine(
                number=row.seq, at=row.at, text=row.line, phase=Phase(row.phase) if row.phase in set(Phase) else None
            )
            for row in self._database.fetch(newer.limit(MAX_LINES))
        )


def _lock_action(connection: sa.Connection, viewer: User, uuid: str, woken: set[str]) -> Action:
    """Return an action of a service that is not terminated, and lock it until the transaction ends.

    Args:
        woken: As in `Wakeup.write`. The topics of the action's engine and of waits for its end are added.
    """
    row = read_one(
        connection, select_actions().where(actions.c.uuid == uuid, visible_to(viewer), sa.not_(services.c.terminated))
    )
    woken |= {row.engine, ENDS}
    lock_services(connection, [row.service_uuid])
    return read_action(connection, uuid)


def _find_joinable(
    connection: sa.Connection, service_uuid: str, verb: Verb, target: int | None
) -> tuple[str, int] | None:
    """Return UUID and `seq` of a pending action that does what is requested; None if there is none."""
    c = actions.c
    of_service = sa.select(c.uuid, c.seq, c.verb, c.target).where(c.service_uuid == service_uuid)
    if verb is Verb.REDEPLOY:
        chosen = of_service.where(OPEN, c.verb == verb.value)
    else:
        chosen = of_service.where(c.state == sa.literal_column("'Pending'")).order_by(c.seq.desc()).limit(1)
    row = connection.execute(chosen).first()
    return (row.uuid, row.seq) if row and (row.verb, row.target) == (verb.value, target) else None
