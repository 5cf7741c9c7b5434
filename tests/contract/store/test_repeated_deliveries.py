"""Deliveries that senders repeat: the same key causes one action."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.stores import StoreBed, call, second_intake
from tutumd.model import Accepted, Operation
from tutumd.ports import CallResult


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
    results = stored.result(30)
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
