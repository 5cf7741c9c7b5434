"""Plain calls on PostgreSQL: one statement, a function of the database, stores a few of them in one round trip.

A plain call has no key, no tag and no evaluation, and calls a redeploy handler without options by its current UUID. The
call queues an action that nothing holds, or joins an action that is due and does not skip an unchanged image.
`Coalescer` processes all other calls, and treats plain calls in the same way.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ConnectionLostError, UnavailableError
from tutumd.model import Accepted, ActionState, Call, DeliveryOutcome, Operation
from tutumd.store.intake.coalesce import WITHOUT_OPTIONS
from tutumd.store.intake.delivery_rows import DELIVERY_COLUMNS, ContentBudget, new_delivery
from tutumd.store.queue.holds import ANY_WINDOW
from tutumd.store.sql import Database, Wakeup
from tutumd.store.sql.faults import UNCERTAIN
from tutumd.store.sql.postgres import CHANNEL, LIMITS, attempts
from tutumd.store.tables import microseconds, new_uuid

MAX_CALLS = 8
"""Larger batches are faster with one INSERT for all calls."""

MAX_BATCHES = 1_000
"""Batches that use the same row of `stored_batches`. While a backup runs, each update of a row slows down the next."""

KEEP_BATCHES = timedelta(hours=1)

_VALUES = {name: f"CAST(delivery ->> {index} AS {kind})" for index, (name, kind) in enumerate(DELIVERY_COLUMNS.items())}
_SET = {
    "handler_seq": "handler.seq",
    "action_seq": "action.seq",
    "outcome": f"CASE WHEN queued THEN '{DeliveryOutcome.QUEUED}' ELSE '{DeliveryOutcome.JOINED}' END",
}
_IS_OPEN = (
    f"service_uuid = handler.service_uuid AND verb = handler.operation AND state = '{ActionState.PENDING}' AND open"
)
# In READ COMMITTED each statement of a function has its own snapshot: what is read after the locks is current.
FUNCTION = f"""CREATE FUNCTION store_plain_calls(
    service_uuids text[], handler_uuids text[], deliveries_json jsonb, received bigint, batch text, batch_number integer
) RETURNS json LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    delivery jsonb;
    handler record;
    action record;
    queued boolean;
    results jsonb := '[]';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' OR current_setting('transaction_read_only') <> 'off'
    THEN
        RETURN NULL;
    END IF;
    PERFORM {LIMITS};
    PERFORM FROM services WHERE uuid = ANY(service_uuids) ORDER BY uuid FOR NO KEY UPDATE;
    FOR place IN 1 .. cardinality(handler_uuids) LOOP
        delivery := deliveries_json -> (place - 1);
        SELECT handlers.seq, handlers.name, handlers.operation, handlers.service_uuid, engine, notes, left_tags
            INTO STRICT handler FROM handlers JOIN services ON services.uuid = service_uuid
            WHERE handlers.uuid = handler_uuids[place] AND service_uuid = service_uuids[place] AND NOT terminated
            AND operation = '{Operation.REDEPLOY}' AND options = '{{}}';
        SELECT seq, uuid, due, skip_unchanged INTO action FROM actions WHERE {_IS_OPEN};
        queued := NOT FOUND;
        IF queued THEN
            -- STRICT: without a row, a hold or a window may apply.
            INSERT INTO actions (
                uuid, service_uuid, engine, verb, state, open, cancel, created, due, address,
                user_agent, reason, log_tail, rolled_back, containers_before, containers_after, token, attempts, journal
            ) SELECT
                gen_random_uuid()::text, handler.service_uuid, handler.engine, handler.operation,
                '{ActionState.PENDING}', true, false, received, received, {_VALUES["address"]},
                {_VALUES["user_agent"]}, '', '', false, '[]', '[]', 0, 0, '{{}}'
            WHERE NOT {ANY_WINDOW} AND NOT EXISTS (
                SELECT FROM service_holds
                WHERE service_uuid = handler.service_uuid AND (until IS NULL OR until > received)
            ) RETURNING seq, uuid INTO STRICT action;
            PERFORM pg_notify({CHANNEL.format("handler.engine")}, '');
        ELSIF action.due > received OR action.skip_unchanged THEN
            RAISE no_data_found;
        END IF;
        INSERT INTO deliveries ({", ".join(f'"{name}"' for name in _VALUES)})
            VALUES ({", ".join((_VALUES | _SET).values())});
        results := results || jsonb_build_array(jsonb_build_array(
            handler.name, action.uuid, handler.seq, action.seq, CASE WHEN queued THEN handler.left_tags ELSE '' END,
            handler.notes, CASE WHEN queued THEN handler.engine END
        ));
    END LOOP;
    INSERT INTO stored_batches (key, number, results, fenced, stored)
        VALUES (batch, batch_number, results, false, received)
        ON CONFLICT (key) DO UPDATE SET number = excluded.number, results = excluded.results, stored = excluded.stored
        WHERE NOT stored_batches.fenced;
    IF NOT FOUND THEN
        RAISE no_data_found;
    END IF;
    RETURN results;
EXCEPTION WHEN no_data_found THEN
    RETURN NULL;
END $$
"""  # noqa: S608 (parts of statements)

_STORE = "SELECT store_plain_calls($1, $2, $3, $4, $5, $6)"
# The commit of this statement waits for a transaction that stores the batch. After it, none can store the batch.
_FENCE = sa.text(
    "INSERT INTO stored_batches (key, number, results, fenced, stored) VALUES (:key, 0, '[]', true, :stored) "
    "ON CONFLICT (key) DO UPDATE SET fenced = true RETURNING number, results"
)


class PlainCalls:
    """The plain calls of one intake. Batches have numbers, by which their results are found after a lost response."""

    def __init__(self, database: Database, wakeup: Wakeup, budget: ContentBudget) -> None:
        self._database = database
        self._wakeup = wakeup
        self._budget = budget
        self._key, self._number = "", MAX_BATCHES

    def store(self, connection: sa.Connection, calls: Sequence[Call], now: datetime) -> list[Accepted] | None:
        """Store a batch and return its results; None: nothing was stored, because a call may not be plain."""
        may_be_plain = (
            not call.has_tag_param and (call.key, call.evaluation) == (None, None) and call.service_uuid
            for call in calls
        )
        if len(calls) > MAX_CALLS or not all(may_be_plain):
            return None
        if self._number >= MAX_BATCHES:
            self._key, self._number = new_uuid(), 0
        self._number += 1
        now_us = microseconds(now)
        rows = [new_delivery(call, call.handler_uuid, WITHOUT_OPTIONS, now_us, self._budget) for call in calls]
        arrays = (_array(call.service_uuid for call in calls), _array(call.handler_uuid for call in calls))
        arguments = (*arrays, json.dumps(rows), str(now_us), self._key, str(self._number))
        try:
            stored = json.loads(self._database.execute_alone(connection, _STORE, arguments) or "null")
        except ConnectionLostError:
            stored = self._find_stored(now_us)
            if stored is None:
                raise
        if stored is None:
            return None
        self._wakeup.publish({engine for *_, engine in stored if engine})
        return [
            Accepted(
                name=name,
                operation=Operation.REDEPLOY,
                action_uuid=action_uuid,
                handler_seq=handler_seq,
                action_seq=action_seq,
                notes=(*left_tags.splitlines(), *notes.splitlines()),
            )
            for name, action_uuid, handler_seq, action_seq, left_tags, notes, _ in stored
        ]

    def _find_stored(self, now_us: int) -> list[Any] | None:
        """Return the results of the last batch after a lost connection, as soon as the database responds; None: it was
        not stored, and will not be.
        """
        key, number, self._number = self._key, self._number, MAX_BATCHES
        for _ in attempts():
            with suppress(UnavailableError), self._database.write() as connection:
                last, results = connection.execute(_FENCE, {"key": key, "stored": now_us}).one()
                return results if last == number else None
        raise UnavailableError(UNCERTAIN)


def _array(uuids: Iterable[str]) -> str:
    return f"{{{','.join(uuids)}}}"
