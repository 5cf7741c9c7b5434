"""The intake: one writer thread that commits calls that arrive at the same time in one transaction."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread

import sqlalchemy as sa

from tutumd.errors import LockedError, Reason, UnavailableError, encode_reasons
from tutumd.model import Access, AuditEvent, Call, DeliveryOutcome, Operation
from tutumd.ports import CallResult, Clock, Intake, OnStored
from tutumd.store.intake import action_inputs, group_calls
from tutumd.store.intake.called_groups import BatchGroups
from tutumd.store.intake.coalesce import CalledHandler, Coalescer, complete
from tutumd.store.intake.delivery_rows import DELIVERY_COLUMNS, ContentBudget
from tutumd.store.intake.handler_lookup import HandlerCache, find_handlers
from tutumd.store.intake.plain_calls import PlainCalls
from tutumd.store.intake.sender_keys import BatchKeys
from tutumd.store.objects import action_rows, audit
from tutumd.store.objects.actions import insert_actions
from tutumd.store.objects.rollbacks import roll_back_by_call
from tutumd.store.objects.row_mapping import read_service
from tutumd.store.queue import holds
from tutumd.store.queue.snapshots import lock_services, lock_unlocked_services
from tutumd.store.sql import Database, Wakeup, dialect_of, execute_compiled, json_rows, probe
from tutumd.store.tables import actions, deliveries, handlers, microseconds

# A commit attempt that takes longer counts as failed.
SLOW_S = 5.0
# Pause between write attempts while the database accepts no calls.
PROBE_S = 1.0

_log = logging.getLogger(__name__)


class SqlIntake(Intake):
    """Intake of tutumd.ports: a thread that commits one batch after the other."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        wakeup: Wakeup,
        *,
        max_keys: int = 1_000_000,
        log_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        """Start the writer thread.

        Args:
            max_keys: Maximum number of stored keys of a handler's deliveries. At the maximum, calls with new keys get
                an error.
            log_bytes: Maximum size of a handler's deliveries. A quarter of it is the maximum size of the content stored
                in a minute.
        """
        self._database = database
        self._clock = clock
        self._wakeup = wakeup
        self._max_keys = max_keys
        # If others can write during a transaction, a change log is incomplete.
        self._cache = HandlerCache() if database.dialect.single_writer else None
        self._budget = ContentBudget(log_bytes // 4)
        self._plain = None if database.dialect.single_writer else PlainCalls(database, wakeup, self._budget)
        self._connection: sa.Connection | None = None
        self._began: float | None = None
        self._failing_since: float | None = None
        self._batches: SimpleQueue[tuple[Sequence[Call], OnStored] | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="intake", daemon=True)
        self._thread.start()

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        self._batches.put((calls, on_stored))

    def failing_s(self) -> float | None:
        began, failing_since, now = self._began, self._failing_since, time.monotonic()
        if failing_since is not None:
            return now - failing_since
        return now - began if began is not None and now - began > SLOW_S else None

    def close(self) -> None:
        """Commit the waiting batches, then stop the writer."""
        self._batches.put(None)
        self._thread.join()

    def _write(self) -> None:
        while True:
            try:
                batch = self._batches.get(timeout=None if self._failing_since is None else PROBE_S)
            except Empty:
                batch = (), lambda _: None
            if batch is None:
                break
            calls, on_stored = batch
            self._began = time.monotonic()
            results = self._commit(calls)
            self._began = None
            on_stored(results)
        self._disconnect()

    def _commit(self, calls: Sequence[Call], lock_error: LockedError | None = None) -> Sequence[CallResult]:
        """Commit calls and return their results. Without calls, attempt a write.

        Args:
            lock_error: Error of the first attempt: another process, which may be stopped, holds a service. Calls to
                such services get this error, so that they do not delay the others.
        """
        try:
            results = self._store(calls, lock_error)
        except Exception as error:  # noqa: BLE001 (the only writer must survive; every caller gets the error)
            self._disconnect()
            return self._handle(error, calls, lock_error)
        if self._failing_since is not None:
            self._failing_since = None
            _log.warning("calls can be stored again")
        return results

    def _store(self, calls: Sequence[Call], lock_error: LockedError | None) -> Sequence[CallResult]:
        if self._connection is not None and not self._database.dialect.is_open(self._connection):
            self._disconnect()
        if self._connection is None:
            self._connection = self._database.connect()
        if self._plain is not None and calls and lock_error is None:
            accepted = self._plain.store(self._connection, calls, self._clock())
            if accepted is not None:
                return accepted
        locked: set[str] = set()
        with self._wakeup.write(self._database, self._connection) as (connection, woken):
            if lock_error:
                locked = lock_unlocked_services(connection, {call.service_uuid for call in calls})
                locked.add("")  # groups: their services may be locked
            free = [call for call in calls if call.service_uuid not in locked] if locked else calls
            results, engines = store_calls(connection, free, self._clock(), self._cache, self._max_keys, self._budget)
            woken |= engines
            if not calls:
                probe(connection)
        if lock_error is None:
            return results
        stored = iter(results)
        return [lock_error if call.service_uuid in locked else next(stored) for call in calls]

    def _handle(self, error: Exception, calls: Sequence[Call], lock_error: LockedError | None) -> Sequence[CallResult]:
        """Return the results of calls whose transaction failed."""
        if isinstance(error, LockedError) and not lock_error:
            return self._commit(calls, error)
        if isinstance(error, UnavailableError):
            self._failing_since = self._failing_since or self._began
            return [error] * len(calls)
        self._failing_since = None
        if len(calls) <= 1:
            _log.error("calls were not stored", exc_info=error)
            return [error] * len(calls)
        # Only the calls that caused the fault fail.
        results: list[CallResult] = []
        for call in calls:
            results += [results[-1]] if self._failing_since is not None else self._commit([call], lock_error)
        return results

    def _disconnect(self) -> None:
        """Close the connection, and clear the cache that belongs to it."""
        if self._cache is not None:
            self._cache.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sa.exc.SQLAlchemyError):  # closing a broken connection may fail, and the writer must survive
                connection.detach()  # a pool that was disposed of meanwhile would not close it
                connection.close()


def store_calls(
    connection: sa.Connection,
    calls: Sequence[Call],
    now: datetime,
    handler_cache: HandlerCache | None,
    max_keys: int,
    budget: ContentBudget,
) -> tuple[list[CallResult], set[str]]:
    """Store calls in their order within one transaction.

    Returns:
        The results, and the topics to publish. A call that joins an action wakes no worker: the call that queued the
        action did.
    """
    groups = BatchGroups(connection, [call for call in calls if not call.service_uuid], now)
    lock_services(connection, {call.service_uuid for call in calls} | groups.service_uuids)
    groups.create_handlers(connection)
    results: list[CallResult] = []
    topics: set[str] = set()
    waiting = calls
    while waiting:
        paths = [*(call.handler_path for call in waiting if call.service_uuid), *groups.paths]
        called = find_handlers(connection, paths, microseconds(now), handler_cache)
        part = _first_part(waiting, called)
        results += _store_part(connection, part, called, now, BatchKeys(now, max_keys), budget, topics, groups)
        waiting = waiting[len(part) :]
    return results, topics


def _first_part(calls: Sequence[Call], called: Mapping[str, CalledHandler]) -> Sequence[Call]:
    """Return the first calls to store at once. A call that may begin a rollback is stored alone: a rollback cancels
    actions that earlier calls have queued and later calls would join.
    """
    begin = {uuid for uuid, handler in called.items() if handler.begins_rollback}
    if not begin:
        return calls
    return calls[: next((index for index, call in enumerate(calls) if call.handler_uuid in begin), len(calls)) or 1]


def _store_part(
    connection: sa.Connection,
    calls: Sequence[Call],
    called: Mapping[str, CalledHandler],
    now: datetime,
    keys: BatchKeys,
    budget: ContentBudget,
    topics: set[str],
    groups: BatchGroups,
) -> list[CallResult]:
    """Store calls of handlers, add the topics to publish, and return the results."""
    given = dict.fromkeys(
        (handler.seq, call.key)
        for call in calls
        if call.key is not None and (handler := called.get(call.handler_uuid)) is not None
    )
    if given:
        keys.read(connection, list(given))
    scaled = {each.action_seq for each in called.values() if each.action_seq and each.operation == Operation.SCALEUP}
    asked = action_inputs.read_totals(connection, scaled)
    now_us, begin_rollback = microseconds(now), partial(roll_back_by_call, connection, now=now, topics=topics)
    groups.read_earlier(connection, calls)
    batch = group_calls.GroupCoalescer({**called, **groups.handlers}, keys, now_us, budget, asked, begin_rollback)
    batch.groups, batch.group_calls = groups, []
    results = [batch.add(call) for call in calls]
    held = {each.action_seq for each in called.values() if each.action_seq and (each.action_due or 0) > now_us}
    seqs: dict[str, int] = {}
    if batch.new_actions:
        inserted = insert_actions(connection, batch.new_actions)
        seqs = {row.uuid: row.seq for row in inserted}
        held |= {row.seq for row in inserted if row.may_be_held}
        for row in batch.deliveries:
            row[1] = seqs.get(row[1], row[1])
    if batch.deliveries:
        dialect_of(connection).insert_rows(connection, "deliveries", DELIVERY_COLUMNS, batch.deliveries)
    keys.store(connection, seqs)
    if batch.amounts:
        amounts = {seqs[action] if isinstance(action, str) else action: of for action, of in batch.amounts.items()}
        action_inputs.store(connection, amounts, set(seqs.values()))
    if batch.debounces:
        ends = {seqs[action] if isinstance(action, str) else action: end for action, end in batch.debounces.items()}
        holds.set_debounces(connection, ends, now)
        held |= set(ends)
    _write_changes(connection, batch, seqs)
    if batch.group_calls:
        results = group_calls.store(connection, batch, results, seqs, now)
    topics |= batch.engines
    _record_openers(connection, batch, now)
    return complete(results, seqs, holds.read(connection, held, now) if held else {}) if seqs or held else results


_SET_CALLERS = sa.text(
    "UPDATE actions SET caller = value ->> 1 FROM json_each(:rows) WHERE seq = CAST(value ->> 0 AS BIGINT)"
)


def _write_changes(connection: sa.Connection, batch: Coalescer, seqs: Mapping[str, int]) -> None:
    for handler_seq, handler_values in sorted(batch.handler_changes.items()):
        connection.execute(sa.update(handlers).where(handlers.c.seq == handler_seq).values(**handler_values))
    if batch.callers:
        callers = [(seqs[key] if isinstance(key, str) else key, name) for key, name in batch.callers.items()]
        execute_compiled(connection, _SET_CALLERS, rows=json_rows(callers))
    for key, changes in batch.action_changes.items():
        seq = seqs[key] if isinstance(key, str) else key
        values = dict(changes)
        if "variables" in changes:
            stored = sa.select(actions.c.variables).where(actions.c.seq == seq)
            values["variables"] = connection.execute(stored).scalar_one() | changes["variables"]
        connection.execute(sa.update(actions).where(actions.c.seq == seq).values(**values))
        if "tag" in changes:
            _mark_superseded(
                connection, seq, deliveries.c.tag != changes["tag"], Reason("later-tag", (changes["tag"],))
            )
        for variable in changes.get("variables", ()):
            carries_it = deliveries.c.variable == variable
            newest = action_rows.seqs(seq).where(carries_it).with_only_columns(sa.func.max(deliveries.c.seq))
            is_older = deliveries.c.seq < newest.scalar_subquery()
            _mark_superseded(connection, seq, sa.and_(carries_it, is_older), Reason("later-body"))


def _mark_superseded(
    connection: sa.Connection, action_seq: int, overridden: sa.ColumnElement[bool], reason: Reason
) -> None:
    """Mark deliveries of an action whose input a later delivery has overridden."""
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.seq.in_(action_rows.seqs(action_seq)), overridden)
        .values(outcome=DeliveryOutcome.SUPERSEDED.value, reason=encode_reasons([reason]))
    )


def _record_openers(connection: sa.Connection, batch: Coalescer, now: datetime) -> None:
    """Write into the audit log who made new actions by a call with an identity token."""
    for call, action, caller in batch.openers:
        audit.record(
            connection,
            None,
            AuditEvent.ACTION_CALLED,
            now,
            service=read_service(connection, None, action["service_uuid"]),
            action=action["uuid"],
            details=str(caller),
            access=Access(credential="identity token", address=call.origin.address, user_agent=call.origin.user_agent),
        )
