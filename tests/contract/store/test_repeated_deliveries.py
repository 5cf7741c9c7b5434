"""Deliveries that senders repeat: the same key causes one action."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, call, second_intake
from tutumd.errors import Reason, TooManyCallsError
from tutumd.model import Accepted, NotQueued, Operation
from tutumd.ports.intake import CallResult
from tutumd.store.tables.actions import actions, deliveries, key_counts, sender_keys

pytestmark = pytest.mark.dialect

DAY_S = 24 * 3600


def test_a_repeated_delivery_gets_the_same_action_for_a_day(bed: StoreBed, database_url: str) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    with second_intake(bed, database_url) as other:
        first = bed.accepted(handler, amount=2, key="x-github-delivery:1")
        again = bed.accepted(handler, amount=2, key="x-github-delivery:1", intake=other)
        different = bed.accepted(handler, amount=1, key="x-github-delivery:2")
    assert first.action_uuid == again.action_uuid == different.action_uuid
    claim = bed.claimed()
    assert bed.queue.amounts(claim) == ((3, None),)
    bed.finish(claim)
    assert bed.accepted(handler, amount=2, key="x-github-delivery:1").action_uuid == first.action_uuid
    assert bed.claim() is None
    bed.clock.move(timedelta(hours=24, seconds=1).total_seconds())
    assert bed.accepted(handler, amount=2, key="x-github-delivery:1").action_uuid != first.action_uuid
    outcomes = [outcome for outcome, _ in bed.outcomes(handler)]
    assert outcomes == ["queued", "repeated", "joined", "repeated", "queued"]


def test_a_delivery_that_reaches_two_replicas_at_once_runs_once(bed: StoreBed, database_url: str) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    with second_intake(bed, database_url) as other, ThreadPoolExecutor(8) as pool:
        for number in range(10):
            key = f"idempotency-key:{number}"
            sent = [pool.submit(bed.accepted, handler, key=key, intake=intake) for intake in (bed.intake, other) * 4]
            assert len({accepted.result(60).action_uuid for accepted in sent}) == 1
            claim = bed.claimed()
            assert bed.queue.amounts(claim) == ((1, None),)
            bed.finish(claim)
    outcomes = [outcome for outcome, _ in bed.outcomes(handler)]
    assert (outcomes.count("queued"), outcomes.count("repeated")) == (10, 70)


def test_equal_deliveries_of_one_batch_are_one(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    stored: Future[Sequence[CallResult]] = Future()
    delivery = replace(call(handler, 2), key="webhook-id:1")
    bed.intake.store([delivery, delivery, replace(delivery, key="webhook-id:2")], stored.set_result)
    results = stored.result(120)
    assert len({result.action_uuid for result in results if isinstance(result, Accepted)}) == 1
    assert all(isinstance(result, Accepted) and result.action_seq for result in results)
    assert bed.queue.amounts(bed.claimed()) == ((4, None),)


@pytest.mark.parametrize("ending", ["failed", "canceled"])
def test_a_repetition_causes_a_new_action_once_the_first_has_failed(bed: StoreBed, ending: str) -> None:
    handler = bed.handler("web")
    first = bed.accepted(handler, key="x-github-delivery:1")
    if ending == "failed":
        bed.finish(bed.claimed(), success=False)
    else:
        bed.store.cancel(bed.admin, first.action_uuid)
    second = bed.accepted(handler, key="x-github-delivery:1")
    assert second.action_uuid != first.action_uuid
    assert bed.accepted(handler, key="x-github-delivery:1").action_uuid == second.action_uuid


def test_the_same_key_at_another_handler_is_another_delivery(bed: StoreBed) -> None:
    for service in ("web", "db"):
        bed.accepted(bed.handler(service), key="idempotency-key:1")
    assert bed.claimed().service.uuid != bed.claimed().service.uuid


def test_a_key_holds_for_24_hours_to_the_second(bed: StoreBed) -> None:
    handler = bed.handler("web")
    for second in (1, DAY_S // 2, DAY_S - 1):  # of a day
        bed.clock.move(3 * DAY_S)
        bed.clock.now = bed.clock.now.replace(hour=0, minute=0, second=0) + timedelta(seconds=second)
        first = bed.accepted(handler, key="webhook-id:1")
        bed.finish(bed.claimed())
        bed.clock.move(DAY_S - 1)
        assert bed.accepted(handler, key="webhook-id:1") == first
        bed.clock.move(1)
        assert bed.accepted(handler, key="webhook-id:1") != first
        bed.finish(bed.claimed())


def test_a_key_is_known_without_its_delivery(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.accepted(handler, key="webhook-id:1")
    bed.finish(bed.claimed())
    with bed.database.write() as connection:
        connection.execute(sa.delete(deliveries))
    assert bed.accepted(handler, key="webhook-id:1") == first


def test_a_clock_that_is_set_back_over_midnight_forgets_no_key(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.accepted(handler, key="webhook-id:1")
    bed.clock.move(-1)
    assert bed.accepted(handler, key="webhook-id:1") == first


def test_a_key_that_is_used_again_after_a_failure_has_one_row(bed: StoreBed) -> None:
    handler = bed.handler("web")
    for _ in range(3):
        bed.accepted(handler, key="webhook-id:1")
        bed.finish(bed.claimed(), success=False)
    assert (count(bed, sender_keys), count_keys(bed)) == (1, 1)


def test_a_key_without_its_action_is_a_new_one(bed: StoreBed) -> None:
    """Only by hand: an action ends after its calls, and is kept for a day at least."""
    handler = bed.handler("web")
    first = bed.accepted(handler, key="webhook-id:1")
    with bed.database.write() as connection:
        connection.execute(sa.delete(actions))
    second = bed.accepted(handler, key="webhook-id:1")
    assert second.action_uuid != first.action_uuid
    assert bed.accepted(handler, key="webhook-id:1") == second
    assert (count(bed, sender_keys), count_keys(bed)) == (1, 1)


def test_an_action_is_kept_as_long_as_a_key_of_its_calls_holds(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.accepted(handler, key="webhook-id:1")
    bed.finish(bed.claimed())
    bed.clock.move(DAY_S - 1)
    prune(bed, limit=100)
    assert bed.accepted(handler, key="webhook-id:1") == first


def test_only_accepted_calls_store_a_key(bed: StoreBed) -> None:
    handler = bed.handler("web", show_log=True)
    for verdict in ({"refuse": Reason("signature-wrong", ("X",))}, {"skip": Reason("ping")}):
        assert isinstance(bed.send(handler, bed.evaluate(handler, **verdict), key="webhook-id:1"), NotQueued)
    assert count(bed, sender_keys) == 0
    for _ in range(2):
        bed.accepted(handler, bed.evaluate(handler), key="webhook-id:1")
    assert (count(bed, sender_keys), count_keys(bed)) == (1, 1)


def test_a_handler_with_too_many_keys_takes_no_new_one(bed: StoreBed, database_url: str) -> None:
    handler, other_handler = bed.handler("web"), bed.handler("db")
    with second_intake(bed, database_url, max_keys=5) as one, second_intake(bed, database_url, max_keys=5) as other:
        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(bed.send, handler, key=f"webhook-id:{n}", intake=(one, other)[n % 2]) for n in range(8)]
            results = [result.result(60) for result in sent]
        known = [n for n, result in enumerate(results) if isinstance(result, Accepted)]
        refused = [result for result in results if isinstance(result, TooManyCallsError)]
        assert (len(known), len(refused)) == (5, 3)
        # They stay until the end of tomorrow.
        assert {error.retry_after_s for error in refused} == {2 * DAY_S}
        for n in known:
            assert bed.accepted(handler, key=f"webhook-id:{n}", intake=one) == results[n]
        bed.accepted(handler, intake=one)
        bed.accepted(other_handler, key="webhook-id:new", intake=one)
        bed.finish(bed.claimed(), success=False)
        bed.accepted(handler, key=f"webhook-id:{known[0]}", intake=one)
        bed.clock.move(1.5 * DAY_S)
        error = bed.send(handler, key="webhook-id:new", intake=one)
        assert isinstance(error, TooManyCallsError)
        bed.clock.move(error.retry_after_s)
        bed.accepted(handler, key="webhook-id:new", intake=one)


def test_keys_of_one_batch_count(bed: StoreBed, database_url: str) -> None:
    handler = bed.handler("web")
    stored: Future[Sequence[CallResult]] = Future()
    with second_intake(bed, database_url, max_keys=2) as intake:
        intake.store([replace(call(handler), key=f"webhook-id:{n}") for n in range(3)], stored.set_result)
        assert [isinstance(result, Accepted) for result in stored.result(120)] == [True, True, False]


def test_keys_of_days_that_are_over_are_deleted_in_parts(bed: StoreBed) -> None:
    handler = bed.handler("web")
    for n in range(5):
        bed.accepted(handler, key=f"webhook-id:{n}")
    bed.clock.move(DAY_S)
    newer = bed.accepted(handler, key="webhook-id:5")
    bed.clock.move(DAY_S - 1)
    prune(bed, limit=2)
    assert (count(bed, sender_keys), count_keys(bed)) == (6, 6)
    bed.clock.move(1)
    assert bed.queue.prune(timedelta(days=90), 2)
    assert count(bed, sender_keys) == 4
    prune(bed, limit=2)
    assert (count(bed, sender_keys), count_keys(bed)) == (1, 1)
    bed.clock.move(-1)
    assert bed.accepted(handler, key="webhook-id:5") == newer


def prune(bed: StoreBed, *, limit: int) -> None:
    """Delete all that is old, with the shortest time for which actions can be kept."""
    while bed.queue.prune(timedelta(days=1), limit):
        pass


def count(bed: StoreBed, table: sa.Table) -> int:
    with bed.database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def count_keys(bed: StoreBed) -> int:
    with bed.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(key_counts.c["keys"]), 0))).scalar_one())
