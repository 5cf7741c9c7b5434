"""The queue: two partial unique indexes, one claim, one lease."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import LeaseLostError
from tutumd.model import ActionState, Claim, EngineInfo, Outcome, Service, ServiceSnapshot, Verb
from tutumd.ports import Clock
from tutumd.store import counting, retention
from tutumd.store import snapshots as snapshot_rows
from tutumd.store.actions import amounts_of
from tutumd.store.database import Database
from tutumd.store.rows import Row, action_from, clean, lock_services, read_service, select_actions
from tutumd.store.signal import Signal
from tutumd.store.tables import LIVE, action_lines, actions, containers, engines, handlers, meta, requests, services

SYNC_BATCH = 50
FORGET_AFTER = timedelta(days=1)
"""How long a service that its engine no longer shows, and that has no handler, stays listed."""


class SqlQueue:
    """Queue of ports.py."""

    def __init__(self, database: Database, clock: Clock, signal: Signal) -> None:
        """Take the database, the clock, and what wakes this process's worker."""
        self._database = database
        self._clock = clock
        self._signal = signal

    def take_over(self) -> None:
        """End all leases at once. Only for a process that knows it is alone with the database."""
        with self._database.write() as connection:
            connection.execute(sa.delete(engines))
            connection.execute(
                sa.update(actions).where(LIVE, actions.c.worker.isnot(None)).values(worker=None, lease_until=None)
            )

    def register(self, worker: str, engines_served: Sequence[EngineInfo]) -> None:
        """See ports.py."""
        now = self._clock()
        with self._database.write() as connection:
            for info in engines_served:
                values = {
                    "kind": info.kind,
                    "creates": info.creates,
                    "error": info.error,
                    "worker": worker,
                    "seen": now,
                }
                updated = connection.execute(sa.update(engines).where(engines.c.name == info.name).values(**values))
                if not updated.rowcount:
                    connection.execute(sa.insert(engines).values(name=info.name, **values))

    def claim(self, worker: str, engine_names: Sequence[str], *, lease: timedelta) -> Claim | None:
        """See ports.py."""
        with self._database.read() as connection:
            if connection.execute(_due(engine_names, self._clock())).first() is None:
                return None
        # First a service that nobody is busy with at this moment; if there is none, wait for the oldest.
        return self._claim(worker, engine_names, lease, skip_locked=True) or self._claim(
            worker, engine_names, lease, skip_locked=False
        )

    def _claim(self, worker: str, engine_names: Sequence[str], lease: timedelta, *, skip_locked: bool) -> Claim | None:
        now = self._clock()
        with self._database.write() as connection:
            candidate = _due(engine_names, now).join(services, services.c.uuid == actions.c.service_uuid)
            locked = candidate.with_for_update(of=services, key_share=True, skip_locked=skip_locked)
            found = connection.execute(locked).first()
            if found is None:
                return None
            # The service is locked now: what is due of it may have changed before.
            due = _due(engine_names, now).where(actions.c.service_uuid == found.service_uuid)
            row = connection.execute(due).first()
            if row is None:
                return None
            claimed = connection.execute(
                sa.update(actions)
                # Its worker may have renewed the lease since it was looked at: renewing locks no service.
                .where(actions.c.uuid == row.uuid, LIVE, actions.c.due <= now, _is_free(now))
                .values(
                    state=ActionState.IN_PROGRESS.value,
                    open=False,
                    worker=worker,
                    token=actions.c.token + 1,
                    lease_until=now + lease,
                    started=sa.func.coalesce(actions.c.started, sa.literal(now, actions.c.started.type)),
                )
            )
            if not claimed.rowcount:
                return None
            row = connection.execute(select_actions().where(actions.c.uuid == row.uuid)).one()
            service = read_service(connection, None, row.service_uuid)
        return Claim(
            action=action_from(row),
            service=service,
            token=row.token,
            attempts=row.attempts,
            journal=row.journal,
            cancel=row.cancel,
        )

    def renew(self, claim: Claim, *, lease: timedelta) -> bool:
        """See ports.py."""
        with self._database.write() as connection:
            _update(connection, claim, lease_until=self._clock() + lease)
            cancel = connection.execute(sa.select(actions.c.cancel).where(actions.c.uuid == claim.action.uuid))
            return bool(cancel.scalar())

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            _update(connection, claim, journal=dict(journal))

    def save_target(self, claim: Claim, target: int) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            _update(connection, claim, target=target)
            connection.execute(
                sa.update(services).where(services.c.uuid == claim.service.uuid).values(target=target, fingerprint="")
            )

    def amounts(self, claim: Claim) -> tuple[tuple[int, int | None], ...]:
        """See ports.py."""
        with self._database.read() as connection:
            return amounts_of(connection, claim.action.uuid)

    def add_line(self, claim: Claim, text: str) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            connection.execute(
                sa.insert(action_lines).values(action_uuid=claim.action.uuid, at=self._clock(), line=clean(text))
            )

    def retry_later(self, claim: Claim, *, delay: timedelta, reason: str) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            _update(
                connection,
                claim,
                due=self._clock() + delay,
                reason=reason,
                worker=None,
                lease_until=None,
                attempts=actions.c.attempts + 1,
            )

    def release(self, claim: Claim) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            _update(connection, claim, worker=None, lease_until=None)

    def finish(self, claim: Claim, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        """See ports.py."""
        now = self._clock()
        service_uuid = claim.service.uuid
        terminated = claim.action.verb is Verb.TERMINATE and outcome.success
        with self._database.write() as connection:
            lock_services(connection, [service_uuid])
            if snapshot is not None:
                snapshot_rows.store_snapshot(connection, service_uuid, snapshot, now=now, final=True)
            before = snapshot_rows.container_uuids(connection, service_uuid, outcome.containers_before, now)
            after = snapshot_rows.container_uuids(connection, service_uuid, outcome.containers_after, now)
            _update(
                connection,
                claim,
                state=_state_after(outcome).value,
                ended=now,
                reason=clean(outcome.reason),
                log_tail=clean(outcome.log_tail),
                rolled_back=outcome.rolled_back,
                image_before=outcome.image_before,
                image_after=outcome.image_after,
                containers_before=before,
                containers_after=after,
                worker=None,
                lease_until=None,
                journal={},
            )
            if terminated:
                _bury(connection, service_uuid, now)
            elif snapshot is None:
                connection.execute(sa.update(services).where(services.c.uuid == service_uuid).values(fingerprint=""))
            self._signal.tell_others(connection)
        self._signal.notify()

    def sync(self, engine: EngineInfo, snapshots: Sequence[ServiceSnapshot]) -> None:
        """See ports.py."""
        shown = {snapshot.selector: snapshot for snapshot in snapshots}
        with self._database.read() as connection:
            known = _rows_of(connection, engine.name)
            forgettable = _forgettable(connection, engine.name, self._clock() - FORGET_AFTER)
        changed = [s for s in shown.values() if not _is_current(known.get(s.selector), s)]
        missing = [row.uuid for row in known.values() if row.unbound is None and row.selector not in shown]
        if not changed and not missing and not forgettable:
            return
        for part in batched(sorted(changed, key=lambda snapshot: snapshot.selector), SYNC_BATCH):
            self._sync_part(engine, part)
        with self._database.write() as connection:
            if missing:
                lock_services(connection, missing)
                snapshot_rows.unbind(connection, missing, self._clock())
            if forgettable:
                _forget(connection, engine.name, forgettable, self._clock() - FORGET_AFTER)

    def _sync_part(self, engine: EngineInfo, snapshots: Sequence[ServiceSnapshot]) -> None:
        now = self._clock()
        with self._database.write() as connection:
            known = _rows_of(connection, engine.name)
            present = [known[s.selector].uuid for s in snapshots if s.selector in known]
            lock_services(connection, present)
            for snapshot in snapshots:
                row = known.get(snapshot.selector)
                uuid = row.uuid if row else _new_service(connection, engine, snapshot, now)
                snapshot_rows.store_snapshot(connection, uuid, snapshot, now=now, final=False)

    def prune(self, keep: timedelta, most: int) -> int:
        """See ports.py."""
        before = self._clock() - keep
        with self._database.read() as connection:
            old = retention.find_old(connection, before, most)
        if not any(old.values()):
            return 0
        with self._database.write() as connection:
            return retention.delete(connection, old)

    def count_calls(self) -> bool:
        """See ports.py."""
        with self._database.write() as connection:
            return counting.count(connection, self._clock())

    def requests(self, engine_names: Sequence[str]) -> tuple[tuple[str, str, Service, Mapping[str, object]], ...]:
        """See ports.py."""
        # One about a service that was terminated meanwhile is answered by nobody, and ends by its age.
        live = sa.select(services.c.uuid).where(sa.not_(services.c.terminated))
        wanted = sa.and_(
            requests.c.engine.in_(engine_names), sa.not_(requests.c.taken), requests.c.service_uuid.in_(live)
        )
        with self._database.read() as connection:
            if connection.execute(sa.select(requests.c.uuid).where(wanted).limit(1)).first() is None:
                return ()
        with self._database.write() as connection:
            unanswered = sa.select(requests).where(wanted).order_by(requests.c.seq)
            rows = connection.execute(unanswered.with_for_update(skip_locked=True)).all()
            connection.execute(
                sa.update(requests).where(requests.c.uuid.in_([row.uuid for row in rows])).values(taken=True)
            )
            return tuple(
                (row.uuid, row.kind, read_service(connection, None, row.service_uuid), row.arguments) for row in rows
            )

    def answer_request(self, request_uuid: str, answer: Mapping[str, object]) -> None:
        """See ports.py."""
        with self._database.write() as connection:
            connection.execute(sa.update(requests).where(requests.c.uuid == request_uuid).values(answer=dict(answer)))

    def wait(self, timeout_s: float) -> None:
        """See ports.py."""
        self._signal.wait(timeout_s)


def batched(items: Sequence[ServiceSnapshot], size: int) -> Iterator[Sequence[ServiceSnapshot]]:
    """Cut a list into parts: a transaction that is long holds up calls."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _state_after(outcome: Outcome) -> ActionState:
    if outcome.success:
        return ActionState.SUCCESS
    return ActionState.CANCELED if outcome.canceled else ActionState.FAILED


def _due(engine_names: Sequence[str], now: datetime) -> sa.Select[Any]:
    busy = actions.alias("busy")
    service_is_free = ~(
        sa.select(busy.c.uuid)
        .where(busy.c.service_uuid == actions.c.service_uuid, busy.c.state == sa.literal_column("'In progress'"))
        .exists()
    )
    pending = sa.and_(actions.c.state == ActionState.PENDING.value, service_is_free)
    abandoned = sa.and_(actions.c.state == ActionState.IN_PROGRESS.value, _is_free(now))
    return (
        sa.select(actions.c.uuid, actions.c.service_uuid)
        .where(LIVE, actions.c.due <= now, actions.c.engine.in_(engine_names), sa.or_(pending, abandoned))
        .order_by(actions.c.seq)
        .limit(1)
    )


def _is_free(now: datetime) -> sa.ColumnElement[bool]:
    """Say that no worker holds the action."""
    return sa.or_(actions.c.lease_until.is_(None), actions.c.lease_until < now)


def _update(connection: sa.Connection, claim: Claim, **values: object) -> None:
    updated = connection.execute(
        sa.update(actions)
        .where(
            actions.c.uuid == claim.action.uuid,
            actions.c.token == claim.token,
            actions.c.state == ActionState.IN_PROGRESS.value,
        )
        .values(**values)
    )
    if not updated.rowcount:
        raise LeaseLostError("another worker holds this action now")


def _bury(connection: sa.Connection, service_uuid: str, now: datetime) -> None:
    connection.execute(
        sa.update(services)
        .where(services.c.uuid == service_uuid)
        .values(terminated=True, bound=False, running=0, stopped=0, target=0, state="Terminated")
    )
    connection.execute(sa.delete(handlers).where(handlers.c.service_uuid == service_uuid))
    connection.execute(
        sa.update(containers)
        .where(containers.c.service_uuid == service_uuid, containers.c.present)
        .values(present=False, state="Terminated")
    )
    connection.execute(
        sa.update(actions)
        .where(actions.c.service_uuid == service_uuid, actions.c.state == ActionState.PENDING.value)
        .values(state=ActionState.CANCELED.value, open=False, ended=now, reason="the service was terminated")
    )


def _rows_of(connection: sa.Connection, engine: str) -> dict[str, sa.Row[Any]]:
    columns = (
        services.c.uuid,
        services.c.selector,
        services.c.fingerprint,
        services.c.unbound,
        services.c.terminated,
    )
    statement: sa.Select[Any] = sa.select(*columns).where(services.c.engine == engine, sa.not_(services.c.terminated))
    rows = connection.execute(statement).all()
    return {row.selector: row for row in rows}


def _is_current(row: Row | None, snapshot: ServiceSnapshot) -> bool:
    return row is not None and row.unbound is None and row.fingerprint == snapshot_rows.fingerprint(snapshot)


def _forgettable(connection: sa.Connection, engine: str, before: datetime) -> list[str]:
    has_handler = sa.select(handlers.c.uuid).where(handlers.c.service_uuid == services.c.uuid).exists()
    is_busy = sa.select(actions.c.uuid).where(actions.c.service_uuid == services.c.uuid, LIVE).exists()
    rows = connection.execute(
        sa.select(services.c.uuid).where(
            services.c.engine == engine,
            services.c.unbound < before,
            services.c.definition.is_(None),
            ~has_handler,
            ~is_busy,
        )
    )
    return [row.uuid for row in rows]


def _forget(connection: sa.Connection, engine: str, uuids: Sequence[str], before: datetime) -> None:
    # Locked for good, so that a handler or an action that comes now waits; then looked at once more.
    locked = sa.select(services.c.uuid).where(services.c.uuid.in_(uuids)).order_by(services.c.uuid)
    connection.execute(locked.with_for_update()).all()
    still = set(_forgettable(connection, engine, before)) & set(uuids)
    connection.execute(sa.delete(services).where(services.c.uuid.in_(still)))


def _new_service(connection: sa.Connection, engine: EngineInfo, snapshot: ServiceSnapshot, now: datetime) -> str:
    uuid = snapshot_rows.service_uuid(_installation(connection), engine.name, snapshot.selector)
    snapshot_rows.insert_service(connection, uuid, engine, snapshot, now)
    return uuid


def _installation(connection: sa.Connection) -> str:
    found = connection.execute(sa.select(meta.c.value).where(meta.c.key == "installation")).scalar()
    if found is None:
        found = secrets.token_hex(16)
        connection.execute(sa.insert(meta).values(key="installation", value=found))
    return str(found)
