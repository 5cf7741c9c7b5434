"""A batch that fails: only the calls to blame get an error, and the work is bounded."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, call
from tutumd.errors import UnavailableError
from tutumd.model import Accepted, Call, Operation
from tutumd.ports.intake import CallResult
from tutumd.store.tables.actions import deliveries

pytestmark = pytest.mark.dialect

BATCH = 256
UNSTORABLE = "\ud800"
"""A lone surrogate, which neither database can store. The edge lets none through."""


def store(bed: StoreBed, calls: Sequence[Call]) -> Sequence[CallResult]:
    results: Future[Sequence[CallResult]] = Future()
    bed.intake.store(calls, results.set_result)
    return results.result(60)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bad", [*(pytest.param({place}, marks=pytest.mark.nightly) for place in (0, 97, 255)), {3, 4, 200}]
)
def test_one_bad_call_fails_alone_and_the_others_are_stored_once_and_in_order(bed: StoreBed, bad: set[int]) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    calls = [call(handler, 1 + number % 100) for number in range(BATCH)]
    for number in bad:
        calls[number] = replace(calls[number], content=UNSTORABLE)
    results = store(bed, calls)
    assert {number for number, result in enumerate(results) if not isinstance(result, Accepted)} == bad
    stored = [each.amount for number, each in enumerate(calls) if number not in bad]
    assert bed.queue.amounts(bed.claimed()) == ((sum(stored), None),)
    with bed.database.read() as connection:
        in_order = sa.select(deliveries.c.amount).order_by(deliveries.c.seq)
        assert connection.execute(in_order).scalars().all() == stored


def test_a_batch_that_is_all_bad_causes_a_bounded_number_of_transactions(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    begun: list[object] = []
    sa.event.listen(bed.database._engine, "begin", begun.append)
    results = store(bed, [replace(call(handler), content=UNSTORABLE)] * BATCH)
    assert not any(isinstance(result, Accepted) for result in results)
    assert len(results) == BATCH
    assert len(begun) <= 1 + BATCH
    assert bed.claim() is None
    bed.call(handler)


def test_calls_after_a_database_that_went_away_are_refused_at_once(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    attempts: list[object] = []

    def go_away_after_the_first(_connection: object) -> None:
        attempts.append(None)
        if len(attempts) > 1:
            raise sa.exc.OperationalError("BEGIN", None, Exception("gone"))

    sa.event.listen(bed.database._engine, "begin", go_away_after_the_first)
    sent = replace(call(handler), key="key")
    results = store(bed, [replace(sent, content=UNSTORABLE), *[sent] * (BATCH - 1)])
    assert len(results) == BATCH
    assert all(isinstance(result, UnavailableError) for result in results)
    assert len(attempts) == 2
    sa.event.remove(bed.database._engine, "begin", go_away_after_the_first)
    bed.call(handler)
