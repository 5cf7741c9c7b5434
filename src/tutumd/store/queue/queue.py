"""The queue of actions for workers: two partial unique indexes, one claim, one lease."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta

import sqlalchemy as sa

from tutumd.errors import encode_reasons
from tutumd.model import Claim, EngineInfo, EngineRequest, Growth, Outcome, Phase, ServiceSnapshot, Verb, is_commit
from tutumd.ports import Queue, Renewal
from tutumd.store.intake import action_inputs
from tutumd.store.objects import action_totals, image_rows
from tutumd.store.objects.action_rows import add_line
from tutumd.store.objects.row_mapping import Row, read_service
from tutumd.store.queue import group_calls, holds, leases, outbox
from tutumd.store.queue.engine_sync import SqlEngineSync
from tutumd.store.queue.snapshots import (
    container_uuids,
    end_service,
    lock_services,
    raise_revision,
    settle_target,
    store_snapshot,
)
from tutumd.store.sql import ENDS, upsert
from tutumd.store.tables import (
    LEASED,
    actions,
    discoveries,
    engines,
    notifications,
    requests,
    services,
    storable,
    worker_slots,
)
from tutumd.store.upkeep import retention
from tutumd.store.upkeep.delivery_log import SqlDeliveryLog

_TRIES = 3
"""Number of searches for an action while other workers claim the found actions, or after a dead worker was found."""

_SELECT_UNSETTLED = sa.select(group_calls.IS_UNSETTLED)

_FROZEN_AT_ONCE = 500
"""Number of due actions to which a claim applies a freeze window that has begun."""


class SqlQueue(SqlEngineSync, SqlDeliveryLog, Queue):
    """Queue of tutumd.ports."""

    _notified = 0

    def take_over(self, workers: Sequence[str] | None = None) -> None:
        """End the leases of dead workers immediately. None: end all leases, for a process that is alone with the
        database.
        """
        if workers is not None and not workers:
            return  # no worker has died, which excuses no action
        with self._database.write() as connection:
            if workers is None:
                connection.execute(sa.delete(engines))
                connection.execute(sa.update(notifications).where(LEASED).values(lease_until=None))
            for table in (worker_slots, discoveries):
                connection.execute(sa.delete(table).where(_is_of(table, workers)))
            leases.take_over(connection, _is_of(actions, workers), self._lease_clock())

    def register(
        self, worker: str, served: Sequence[EngineInfo], *, has_looked: bool = True, slots: int | None = None
    ) -> None:
        now = self._clock()
        self._wakeup.topics.update(info.name for info in served)
        with self._wakeup.write(self._database) as (connection, woken):
            for info in sorted(served, key=lambda info: info.name):  # so that no two workers deadlock
                if has_looked:
                    was_away = connection.scalar(
                        sa.select(engines.c.away).where(engines.c.name == info.name).with_for_update()
                    )
                    woken |= outbox.add_engine(connection, info, was_away=was_away, now=now)
                faults = encode_reasons(info.faults)
                values = {**asdict(info), "faults": faults, "worker": worker, "last_heartbeat": now}
                kept = () if has_looked else ("error", "faults", "away", "note")
                upsert(connection, engines, ["name"], values, kept=kept)
                if slots is not None:
                    upsert(
                        connection,
                        worker_slots,
                        ["worker", "engine"],
                        {"worker": worker, "engine": info.name, "slots": slots, "last_heartbeat": now},
                    )
            if slots is not None:
                leases.excuse_waiting(connection, now, self._lease_clock())

    def lease_discovery(self, worker: str, engine_name: str, *, lease: timedelta | None) -> bool:
        now, c = self._lease_clock(), discoveries.c
        is_free = sa.or_(c.worker == worker, c.lease_until <= now)
        is_taken = bool(self._database.fetch(sa.select(c.worker).where(c.engine == engine_name, ~is_free)))
        if is_taken or lease is None:
            return not is_taken
        with self._database.write() as connection:
            return upsert(
                connection,
                discoveries,
                ["engine"],
                {"engine": engine_name, "worker": worker, "lease_until": now + lease},
                where=is_free,
            )

    def claim(
        self, worker: str, engine_names: Sequence[str], *, lease: timedelta, are_away: bool = False
    ) -> Claim | None:
        now, lease_now = self._clock(), self._lease_clock()
        parameters = leases.claim_parameters(engine_names, now, lease_now)
        if self._database.dialect.single_writer:  # on other databases, looking does not keep others from writing
            with self._database.read() as connection:
                claimable = connection.execute(leases.select_claimable(are_away=are_away), parameters).first()
                if claimable is None and not connection.scalar(_SELECT_UNSETTLED):
                    return None
        tries = 0
        while tries < _TRIES:
            with self._wakeup.write(self._database) as (connection, woken):
                candidate = _lock_candidate(connection, parameters, are_away=are_away)
                if candidate is None or candidate.is_unsettled:
                    woken |= group_calls.settle(connection, now)
                    if woken:
                        continue
                if candidate is None:
                    return None
                if candidate.may_be_held and holds.refresh(connection, [candidate.service_uuid], now):
                    # A freeze window has begun, perhaps for many services.
                    others = leases.lock_claimable(are_away=are_away, skip_locked=True).limit(_FROZEN_AT_ONCE)
                    holds.refresh(connection, [row.service_uuid for row in connection.execute(others, parameters)], now)
                    continue
                tries += 1
                if candidate.worker not in (None, worker):
                    is_dead = sa.and_(actions.c.worker == candidate.worker, leases.is_unleased(lease_now))
                    leases.bury(connection, is_dead, lease_now)
                    continue
                service_uuid = candidate.service_uuid
                # Check again now that the service is locked: its actions may have changed before.
                holder = {"claimed_service": service_uuid, "claiming_worker": worker, "leased_until": lease_now + lease}
                uuid = connection.execute(leases.claim_oldest(are_away=are_away), {**parameters, **holder}).scalar()
                if uuid is None:
                    continue
                raise_revision(connection, service_uuid)
                row = connection.execute(leases.SELECT_WITH_LEFTOVER, {"action_uuid": uuid}).one()
                service = read_service(connection, None, service_uuid)
                leftover = leases.read_leftover(connection, row, service)
                if row.token == 1 and row.has_forges:
                    woken |= outbox.add_started(connection, uuid, now)
            # After the commit: a row that cannot be mapped must not hold up the others.
            return leases.claim_from(row, service, leftover, lease_now)
        return None

    def renew(self, claims: Sequence[tuple[Claim, bool]], *, lease: timedelta) -> Sequence[Renewal]:
        with self._database.write() as connection:
            return leases.renew_claims(connection, claims, self._lease_clock() + lease)

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        with self._database.write() as connection:
            leases.update_claimed(connection, claim, journal=dict(journal))

    def save_leftover(self, claim: Claim, journal: Mapping[str, object]) -> None:
        if claim.leftover is None:
            return
        left = actions.c.uuid == claim.leftover.action.uuid
        with self._database.write() as connection:
            # This changes nothing: it raises LeaseLostError, or excludes others.
            leases.update_claimed(connection, claim, token=claim.token)
            connection.execute(sa.update(actions).where(left).values(journal=dict(journal), abandoned=bool(journal)))

    def save_target(self, claim: Claim, target: int, growth: Growth | None = None) -> None:
        with self._database.write() as connection:
            leases.update_claimed(
                connection,
                claim,
                target=target,
                target_before=claim.service.target,
                growth=growth and asdict(growth),
            )
            connection.execute(
                sa.update(services).where(services.c.uuid == claim.service.uuid).values(target=target, fingerprint="")
            )

    def amounts(self, claim: Claim) -> tuple[tuple[int, int | None], ...]:
        with self._database.read() as connection:
            return tuple(action_inputs.read(connection, claim.action.uuid))

    def add_log_line(self, claim: Claim, text: str, phase: Phase | None = None) -> None:
        with self._database.write(is_synced=False) as connection:
            add_line(connection, claim.action.uuid, self._clock(), text, phase)

    def retry_later(self, claim: Claim, *, delay: timedelta, error: str) -> None:
        lease_now = self._lease_clock()
        with self._database.write() as connection:
            leases.update_claimed(
                connection,
                claim,
                due=self._clock() + delay,
                failing_since=sa.func.coalesce(actions.c.failing_since, sa.literal(lease_now, actions.c.created.type)),
                reason=f"waiting for another try: {error}",
                last_error=error,
                worker=None,
                lease_until=lease_now + delay,
                attempts=actions.c.attempts + 1,
                deaths=0,
            )

    def release(self, claim: Claim) -> None:
        with self._wakeup.write(self._database) as (connection, woken):
            woken.add(claim.service.engine)
            leases.update_claimed(connection, claim, worker=None, lease_until=None)

    def finish(self, claim: Claim, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        now = self._clock()
        service_uuid = claim.service.uuid
        with self._wakeup.write(self._database) as (connection, woken):
            woken |= {claim.service.engine, ENDS}
            lock_services(connection, [service_uuid])
            if snapshot is not None:
                store_snapshot(connection, service_uuid, snapshot, now=now, final=True)
            before = container_uuids(connection, service_uuid, outcome.containers_before, now)
            after = container_uuids(connection, service_uuid, outcome.containers_after, now)
            revision = outcome.image.revision.lower() if outcome.image else ""
            state, reason_code = action_totals.ending_of(outcome)
            leases.update_claimed(
                connection,
                claim,
                state=state.value,
                ended=now,
                reason=action_totals.describe(connection, claim, outcome),
                reason_code=reason_code,
                log_tail=storable(outcome.log_tail),
                rolled_back=outcome.rolled_back,
                image_before=outcome.image_before,
                image_after=outcome.image_after,
                image_tried=outcome.image_tried,
                image_revision=revision if is_commit(revision) else None,
                containers_before=before,
                containers_after=after,
                worker=None,
                lease_until=None,
                # The next claim cleans up what is half done.
                abandoned=outcome.half_done,
                **({} if outcome.half_done else {"journal": {}}),
                # Variables may be request bodies: they are kept only for a retry, which a successful action does not
                # get.
                **({"variables": {}} if outcome.success else {}),
            )
            raise_revision(connection, service_uuid)
            settle_target(connection, claim.action.uuid, success=outcome.success)
            if claim.action.verb is Verb.TERMINATE and outcome.success:
                woken |= end_service(connection, service_uuid, now, "the service was terminated")
            else:
                image_rows.record_success(connection, claim, outcome, now)
                if snapshot is None:
                    connection.execute(
                        sa.update(services).where(services.c.uuid == service_uuid).values(fingerprint="")
                    )
                else:
                    image_rows.record_seen(connection, service_uuid, snapshot, now)
            woken |= action_totals.count_ended(connection, [claim.action.uuid])

    def prune(self, keep: timedelta, limit: int, *, keep_audit: timedelta = timedelta(days=365)) -> bool:
        return retention.prune(self._database, self._clock(), keep, limit, keep_audit)

    def take_requests(self, engine_names: Sequence[str], limit: int = 100) -> tuple[EngineRequest, ...]:
        # A request for a terminated service expires.
        live = sa.select(services.c.uuid).where(sa.not_(services.c.terminated))
        is_new = sa.and_(
            requests.c.engine.in_(engine_names),
            requests.c.created > self._clock() - retention.MAX_REQUEST_AGE,  # nobody waits longer
            sa.not_(requests.c.taken),
            requests.c.service_uuid.in_(live),
        )
        if not self._database.fetch(sa.select(requests.c.uuid).where(is_new).limit(1)):
            return ()
        with self._database.write() as connection:
            rows = connection.execute(
                sa.select(requests)
                .where(is_new)
                .order_by(requests.c.seq)
                .limit(limit)
                .with_for_update(skip_locked=True)
            ).all()
            connection.execute(
                sa.update(requests).where(requests.c.uuid.in_([row.uuid for row in rows])).values(taken=True)
            )
            return tuple(
                EngineRequest(
                    uuid=row.uuid,
                    kind=row.kind,
                    service=read_service(connection, None, row.service_uuid),
                    arguments=row.arguments,
                )
                for row in rows
            )

    def save_response(self, request_uuid: str, response: Mapping[str, object]) -> None:
        with self._wakeup.write(self._database) as (connection, woken):
            woken.add(ENDS)
            connection.execute(sa.update(requests).where(requests.c.uuid == request_uuid).values(answer=dict(response)))

    def wait(self, timeout_s: float) -> None:
        self._notified = self._wakeup.wait(self._notified, timeout_s)

    def wake(self) -> None:
        self._wakeup.notify()


def _is_of(table: sa.Table, workers: Sequence[str] | None) -> sa.ColumnElement[bool]:
    return sa.true() if workers is None else table.c.worker.in_(workers)


def _lock_candidate(connection: sa.Connection, parameters: Mapping[str, object], *, are_away: bool) -> Row | None:
    """Lock the service of a claimable action and return the action; None if there is none."""
    # Prefer a service that no transaction has locked now; if there is none, wait for the oldest.
    for skip_locked in (True, False):
        locked = leases.lock_claimable(are_away=are_away, skip_locked=skip_locked)
        if candidate := connection.execute(locked, parameters).first():
            return candidate
    return None
