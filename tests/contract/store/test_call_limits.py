"""Limits that the store enforces on calls: the version of the options, numbers of uses, and rates."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.support.stores import StoreBed, second_intake
from tutumd.errors import NotFoundError, Reason, TooManyCallsError
from tutumd.model import Accepted, Evaluation, EvaluationNeeded, NewHandler, NotQueued, Operation
from tutumd.store.intake.rate_limits import take_token

SECOND = 1_000_000


def test_a_call_is_stored_only_if_it_was_evaluated_with_the_present_options(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=5)
    first = bed.send(handler)
    assert isinstance(first, EvaluationNeeded)
    assert first.options == {"debounce": 5}
    bed.store.change_handler(
        bed.admin, handler.service_uuid, handler.uuid, lambda old: NewHandler(name=old.name, options={"debounce": 6})
    )
    second = bed.send(handler, Evaluation(version=first.version))
    assert isinstance(second, EvaluationNeeded)
    assert second.options == {"debounce": 6}
    assert isinstance(bed.send(handler, Evaluation(version=second.version)), Accepted)
    assert [outcome for outcome, _ in bed.outcomes(handler)] == ["queued"]


def test_a_call_that_joins_is_stored_only_if_it_was_evaluated_with_the_present_options(bed: StoreBed) -> None:
    handler = bed.handler("web", show_log=True)
    first = bed.send(handler)
    assert isinstance(first, EvaluationNeeded)
    admitted = Evaluation(version=first.version, verified=True, is_plain=True)
    queued = bed.accepted(handler, admitted)
    assert bed.accepted(handler, admitted).action_uuid == queued.action_uuid
    bed.store.change_handler(
        bed.admin, handler.service_uuid, handler.uuid, lambda old: NewHandler(name=old.name, options={"debounce": 6})
    )
    assert isinstance(bed.send(handler, admitted), EvaluationNeeded)
    assert [outcome for outcome, _ in bed.outcomes(handler)] == ["queued", "joined"]


def test_a_call_that_does_nothing_is_listed_with_its_reason(bed: StoreBed) -> None:
    handler = bed.handler("web", show_log=True)
    assert isinstance(bed.send(handler, bed.evaluate(handler, skip=Reason("another branch"))), NotQueued)
    assert isinstance(bed.send(handler, bed.evaluate(handler, refuse=Reason("the signature is wrong"))), NotQueued)
    assert bed.outcomes(handler) == [("skipped", "another branch"), ("refused", "the signature is wrong")]
    assert bed.claim() is None


def test_a_repetition_of_the_last_use_gets_its_result(bed: StoreBed) -> None:
    handler = bed.handler("web", max_uses=1)
    evaluation = bed.evaluate(handler, max_uses=1)
    first = bed.accepted(handler, evaluation, key="idempotency-key:1")
    assert bed.send(handler, evaluation, key="idempotency-key:1") == first
    assert isinstance(bed.send(handler, evaluation, key="idempotency-key:2"), NotFoundError)


def test_uses_are_exact_over_replicas(bed: StoreBed, database_url: str) -> None:
    handler = bed.handler("web", max_uses=7)
    evaluation = bed.evaluate(handler, max_uses=7)
    with second_intake(bed, database_url) as other, ThreadPoolExecutor(2) as pool:
        ten_calls = [
            pool.submit(lambda i=intake: [bed.send(handler, evaluation, intake=i) for _ in range(10)])  # type: ignore[misc] # early binding
            for intake in (bed.intake, other)
        ]
        results = [result for calls in ten_calls for result in calls.result(60)]
    assert sum(isinstance(result, Accepted) for result in results) == 7
    assert sum(isinstance(result, NotFoundError) for result in results) == 13


def test_a_rate_holds_over_replicas_and_an_error_says_when_to_call_again(bed: StoreBed, database_url: str) -> None:
    handler = bed.handler("web", rate_limit="3/minute")
    evaluation = bed.evaluate(handler, rate=(3, 60))
    with second_intake(bed, database_url) as other:
        intakes = (bed.intake, other, bed.intake, other, bed.intake)
        results = [bed.send(handler, evaluation, intake=intake) for intake in intakes]
    assert [isinstance(result, Accepted) for result in results] == [True, True, True, False, False]
    error = results[-1]
    assert isinstance(error, TooManyCallsError)
    assert error.retry_after_s == 20
    bed.clock.move(error.retry_after_s)
    assert isinstance(bed.send(handler, evaluation), Accepted)
    assert isinstance(bed.send(handler, evaluation), TooManyCallsError)


def test_a_repetition_gets_the_first_result_whatever_the_rate(bed: StoreBed) -> None:
    """A proxy whose replica died asks another one with the same key; a 429 would say that the call was not accepted."""
    handler = bed.handler("web", Operation.SCALEUP, rate_limit="1/minute")
    evaluation = bed.evaluate(handler, rate=(1, 60))
    first = bed.accepted(handler, evaluation, key="idempotency-key:1")
    # It asks for nothing more, so no limit leaves out a part of it.
    assert bed.send(handler, evaluation, key="idempotency-key:1") == replace(first, before=None)
    assert isinstance(bed.send(handler, evaluation, key="idempotency-key:2"), TooManyCallsError)
    forged = bed.evaluate(handler, rate=(1, 60), refuse=Reason("the signature is wrong"))
    assert isinstance(bed.send(handler, forged, key="idempotency-key:1"), NotQueued)
    assert bed.queue.amounts(bed.claimed()) == ((1, None),)


def test_refused_calls_take_nothing_of_the_rate_and_the_uses(bed: StoreBed) -> None:
    handler = bed.handler("web", rate_limit="2/minute", max_uses=2)
    forged, authentic = (
        bed.evaluate(handler, rate=(2, 60), max_uses=2, refuse=refuse)
        for refuse in (Reason("the signature is wrong"), None)
    )
    for _ in range(20):
        assert isinstance(bed.send(handler, forged), NotQueued)
    for _ in range(2):
        bed.accepted(handler, authentic)


def test_a_bucket_refills_evenly() -> None:
    full_at = 0
    for _ in range(10):
        full_at, wait = take_token(full_at, 100 * SECOND, 10, 10)
        assert wait == 0
    assert take_token(full_at, 100 * SECOND, 10, 10) == (full_at, SECOND)
    full_at, wait = take_token(full_at, 101 * SECOND, 10, 10)
    assert wait == 0
    assert take_token(full_at, 101 * SECOND, 10, 10)[1] == SECOND


def test_a_clock_that_is_set_back_delays_no_call() -> None:
    full_at, _ = take_token(0, 7200 * SECOND, 10, 10)
    assert take_token(full_at, 3600 * SECOND, 10, 10)[1] == 0
