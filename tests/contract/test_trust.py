"""What is set on a handler, as far as the store keeps to it: limits, repetitions, holding back, rotation."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.stores import Bench, accept, bench, call, query, second_intake
from tutumd.errors import NotFoundError, TooManyCallsError
from tutumd.model import (
    Accepted,
    ActionState,
    DeliveryOutcome,
    Evaluation,
    EvaluationNeeded,
    Handler,
    NewHandler,
    NotQueued,
    Operation,
    Verb,
)
from tutumd.ports import CallResult
from tutumd.store.intake import SqlIntake
from tutumd.store.rate_limits import take_token


@pytest.fixture
def b(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as opened:
        opened.show("web", "db")
        yield opened


def send(
    b: Bench, handler: Handler, evaluation: Evaluation | None = None, *, amount: int = 1, key: str | None = None
) -> CallResult:
    """Call a handler; answers what became of the call, an error too."""
    return send_to(b.intake, handler, evaluation, amount=amount, key=key)


def send_to(
    intake: SqlIntake,
    handler: Handler,
    evaluation: Evaluation | None = None,
    *,
    amount: int = 1,
    key: str | None = None,
) -> CallResult:
    told: Future[CallResult] = Future()
    one = replace(call(handler, amount), evaluation=evaluation, key=key)
    intake.store([one], lambda results: told.set_result(results[0]))
    return told.result(30)


def evaluation(b: Bench, handler: Handler, **facts: Any) -> Evaluation:
    """Make what somebody who looked at the handler's options says."""
    needed = send(b, handler)
    assert isinstance(needed, EvaluationNeeded)
    return Evaluation(version=needed.version, **facts)


def outcomes(b: Bench, handler: Handler) -> list[tuple[str, str]]:
    found = b.store.deliveries(b.admin, handler.service_uuid, handler.uuid, query()).objects
    return [(one.outcome.value, one.reason) for one in reversed(found)]


def test_a_call_is_stored_only_as_judged_by_the_options_that_hold(b: Bench) -> None:
    handler = b.handler("web", debounce=5)
    first = send(b, handler)
    assert isinstance(first, EvaluationNeeded)
    assert first.options == {"debounce": 5}
    told = Evaluation(version=first.version)
    b.store.change_handler(
        b.admin, handler.service_uuid, handler.uuid, lambda old: NewHandler(name=old.name, options={"debounce": 6})
    )
    second = send(b, handler, told)
    assert isinstance(second, EvaluationNeeded)
    assert second.options == {"debounce": 6}
    assert isinstance(send(b, handler, Evaluation(version=second.version)), Accepted)
    assert [outcome for outcome, _ in outcomes(b, handler)] == ["queued"]


def test_a_call_that_does_nothing_is_listed_with_its_reason(b: Bench) -> None:
    handler = b.handler("web", show_log=True)
    assert isinstance(send(b, handler, evaluation(b, handler, skip="another branch")), NotQueued)
    assert isinstance(send(b, handler, evaluation(b, handler, refuse="the signature is wrong")), NotQueued)
    assert outcomes(b, handler) == [("skipped", "another branch"), ("refused", "the signature is wrong")]
    assert b.claim() is None


def test_the_last_use_is_answered_again_when_it_is_repeated(b: Bench) -> None:
    handler = b.handler("web", max_uses=1)
    told = evaluation(b, handler, max_uses=1)
    first = send(b, handler, told, key="idempotency-key:1")
    assert isinstance(first, Accepted)
    assert send(b, handler, told, key="idempotency-key:1") == first
    assert isinstance(send(b, handler, told, key="idempotency-key:2"), NotFoundError)


def test_uses_are_exact_over_replicas(b: Bench, database_url: str) -> None:
    handler = b.handler("web", max_uses=7)
    told = evaluation(b, handler, max_uses=7)
    results: list[CallResult] = []
    with second_intake(b, database_url) as other:
        threads = [
            threading.Thread(target=lambda i=intake: results.extend(send_to(i, handler, told) for _ in range(10)))
            for intake in (b.intake, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sum(isinstance(result, Accepted) for result in results) == 7
    assert sum(isinstance(result, NotFoundError) for result in results) == 13


def test_a_rate_lets_so_many_through_and_says_when_the_next_one_may_come(b: Bench, database_url: str) -> None:
    handler = b.handler("web", rate_limit="3/minute")
    told = evaluation(b, handler, rate=(3, 60))
    with second_intake(b, database_url) as other:
        results = [send_to(intake, handler, told) for intake in (b.intake, other, b.intake, other, b.intake)]
    assert [isinstance(result, Accepted) for result in results] == [True, True, True, False, False]
    refusal = results[-1]
    assert isinstance(refusal, TooManyCallsError)
    assert refusal.retry_after_s == 20
    b.clock.move(refusal.retry_after_s)
    assert isinstance(send(b, handler, told), Accepted)
    assert isinstance(send(b, handler, told), TooManyCallsError)


def test_a_repetition_is_answered_as_the_first_whatever_the_rate(b: Bench) -> None:
    """A proxy whose replica died asks another one with the same key; a 429 would say that the call was not accepted."""
    handler = b.handler("web", Operation.SCALEUP, rate_limit="1/minute")
    told = evaluation(b, handler, rate=(1, 60))
    first = send(b, handler, told, key="idempotency-key:1")
    assert isinstance(first, Accepted)
    assert send(b, handler, told, key="idempotency-key:1") == first
    assert isinstance(send(b, handler, told, key="idempotency-key:2"), TooManyCallsError)
    forged = evaluation(b, handler, rate=(1, 60), refuse="the signature is wrong")
    assert isinstance(send(b, handler, forged, key="idempotency-key:1"), TooManyCallsError)
    assert b.queue.amounts(b.claimed()) == ((1, None),)


def test_a_bucket_fills_again_evenly() -> None:
    tat, second = 0, 1_000_000
    for _ in range(10):
        tat, wait = take_token(tat, 100 * second, 10, 10)
        assert wait == 0
    assert take_token(tat, 100 * second, 10, 10) == (tat, second)
    tat, wait = take_token(tat, 101 * second, 10, 10)
    assert wait == 0
    assert take_token(tat, 101 * second, 10, 10)[1] == second


def test_a_clock_that_was_set_back_holds_up_nobody() -> None:
    second = 1_000_000
    tat, _ = take_token(0, 7200 * second, 10, 10)
    assert take_token(tat, 3600 * second, 10, 10)[1] == 0


def test_a_repeated_delivery_is_the_same_action_until_a_day_has_passed(b: Bench, database_url: str) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    with second_intake(b, database_url) as other:
        first = send(b, handler, amount=2, key="x-github-delivery:1")
        again = send_to(other, handler, amount=2, key="x-github-delivery:1")
        third = send(b, handler, amount=1, key="x-github-delivery:2")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert isinstance(third, Accepted)
    assert first.action_uuid == again.action_uuid == third.action_uuid
    claim = b.claimed()
    assert [amount for amount, _ in b.queue.amounts(claim)] == [2, 1]
    b.finish(claim)
    late = send(b, handler, amount=2, key="x-github-delivery:1")
    assert isinstance(late, Accepted)
    assert late.action_uuid == first.action_uuid
    assert b.claim() is None
    b.clock.move(timedelta(hours=24, seconds=1).total_seconds())
    fresh = send(b, handler, amount=2, key="x-github-delivery:1")
    assert isinstance(fresh, Accepted)
    assert fresh.action_uuid != first.action_uuid
    assert [outcome for outcome, _ in outcomes(b, handler)] == ["queued", "repeated", "joined", "repeated", "queued"]


def test_a_delivery_that_comes_to_two_replicas_at_once_runs_once(b: Bench, database_url: str) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    with second_intake(b, database_url) as other:
        for number in range(10):
            key, results = f"idempotency-key:{number}", list[CallResult]()
            threads = [
                threading.Thread(target=lambda i=intake, key=key, to=results: to.append(send_to(i, handler, key=key)))
                for intake in (b.intake, other) * 4
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert len(results) == 8
            assert len({result.action_uuid for result in results if isinstance(result, Accepted)}) == 1
            claim = b.claimed()
            assert [amount for amount, _ in b.queue.amounts(claim)] == [1]
            b.finish(claim)
    told = [outcome for outcome, _ in outcomes(b, handler)]
    assert (told.count("queued"), told.count("repeated")) == (10, 70)


def test_two_equal_deliveries_of_one_batch_are_one(b: Bench) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    told: Future[list[CallResult]] = Future()
    same = replace(call(handler, 2), key="webhook-id:1")
    b.intake.store([same, same, replace(same, key="webhook-id:2")], lambda results: told.set_result(list(results)))
    results = told.result(30)
    assert len({result.action_uuid for result in results if isinstance(result, Accepted)}) == 1
    assert all(isinstance(result, Accepted) and result.action_seq for result in results)
    assert [amount for amount, _ in b.queue.amounts(b.claimed())] == [2, 2]


@pytest.mark.parametrize("ending", ["failed", "canceled"])
def test_a_delivery_is_tried_again_once_its_action_failed(b: Bench, ending: str) -> None:
    handler = b.handler("web")
    first = send(b, handler, key="x-github-delivery:1")
    assert isinstance(first, Accepted)
    if ending == "failed":
        b.finish(b.claimed(), success=False)
    else:
        b.store.cancel(b.admin, first.action_uuid)
    second = send(b, handler, key="x-github-delivery:1")
    assert isinstance(second, Accepted)
    assert second.action_uuid != first.action_uuid
    third = send(b, handler, key="x-github-delivery:1")
    assert isinstance(third, Accepted)
    assert third.action_uuid == second.action_uuid


def test_another_handler_may_get_a_delivery_of_the_same_name(b: Bench) -> None:
    web, db = b.handler("web"), b.handler("db")
    assert isinstance(send(b, web, key="idempotency-key:1"), Accepted)
    other = send(b, db, key="idempotency-key:1")
    assert isinstance(other, Accepted)
    assert b.claimed().service.uuid != b.claimed().service.uuid


def test_a_run_is_held_back_until_there_was_quiet(b: Bench) -> None:
    handler = b.handler("web", debounce=10)
    told = evaluation(b, handler, debounce_s=10)
    send(b, handler, told)
    for _ in range(3):
        b.clock.move(9)
        assert b.claim() is None
        send(b, handler, told)
    b.clock.move(9)
    assert b.claim() is None
    b.clock.move(2)
    claim = b.claimed()
    assert claim.action.deliveries == 4


def test_a_run_is_held_back_ten_times_the_quiet_at_most(b: Bench) -> None:
    handler = b.handler("web", debounce=10)
    told = evaluation(b, handler, debounce_s=10)
    began = b.clock()
    send(b, handler, told)
    while b.claim() is None:
        b.clock.move(5)
        send(b, handler, told)
        assert (b.clock() - began).total_seconds() <= 105
    assert (b.clock() - began).total_seconds() >= 100


def test_a_call_without_debounce_makes_a_held_run_due(b: Bench) -> None:
    held, plain = b.handler("web", debounce=10), b.handler("web")
    first = send(b, held, evaluation(b, held, debounce_s=10))
    assert b.claim() is None
    second = send(b, plain)
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert second.action_uuid == first.action_uuid
    assert b.claimed().action.uuid == first.action_uuid


def test_a_redeploy_by_hand_makes_a_held_run_due(b: Bench) -> None:
    handler = b.handler("web", debounce=10)
    first = send(b, handler, evaluation(b, handler, debounce_s=10))
    assert b.claim() is None
    asked = b.store.submit(handler.service_uuid, Verb.REDEPLOY, target=None, origin=call(handler).origin)
    assert isinstance(first, Accepted)
    assert asked.uuid == first.action_uuid
    assert b.claimed().action.uuid == first.action_uuid


def test_a_held_run_blocks_no_other_operation_of_its_service(b: Bench) -> None:
    held, scale = b.handler("web", debounce=10), b.handler("web", Operation.SCALEUP)
    send(b, held, evaluation(b, held, debounce_s=10))
    b.call(scale)
    assert b.claimed().action.verb.value == "SCALEUP"


def test_inputs_merge_field_by_field_and_the_overridden_are_told_so(b: Bench) -> None:
    handler = b.handler("web", pass_body="TUTUM_TRIGGER_BODY")
    send(b, handler, evaluation(b, handler, tag="v1", variable=("TUTUM_TRIGGER_BODY", "one")))
    send(b, handler, evaluation(b, handler, tag="v2"))
    send(b, handler, evaluation(b, handler))
    send(b, handler, evaluation(b, handler, variable=("TUTUM_OTHER", "two")))
    action = b.claimed().action
    assert action.tag == "v2"
    assert action.variables == {"TUTUM_TRIGGER_BODY": "one", "TUTUM_OTHER": "two"}
    assert outcomes(b, handler)[0] == ("superseded", "a later call named the tag 'v2'")
    assert [outcome for outcome, _ in outcomes(b, handler)[1:]] == ["joined", "joined", "joined"]
    b.finish(b.claim() or b_claim(b, action.uuid))


def test_a_call_with_the_same_tag_overrides_nothing(b: Bench) -> None:
    handler = b.handler("web", tag={"allow": ["v*"]})
    for tag in ("v1", "v1", "v2", "v2"):
        send(b, handler, evaluation(b, handler, tag=tag))
    assert b.claimed().action.tag == "v2"
    assert [outcome for outcome, _ in outcomes(b, handler)] == ["superseded", "superseded", "joined", "joined"]


def b_claim(b: Bench, uuid: str) -> Any:
    """Claim an action once more whose lease has ended."""
    b.clock.move(60)
    claim = b.claimed()
    assert claim.action.uuid == uuid
    return claim


def test_a_body_that_was_passed_is_kept_no_longer_than_a_retry_may_need_it(b: Bench) -> None:
    handler = b.handler("web", pass_body="TUTUM_X")
    body = ("TUTUM_X", "a body with a sender's secret")
    for success, kept in ((False, dict([body])), (True, {})):
        done = send(b, handler, evaluation(b, handler, variable=body))
        assert isinstance(done, Accepted)
        claim = b.claimed()
        assert claim.action.variables == dict([body])
        b.finish(claim, success=success)
        assert b.store.action(b.admin, done.action_uuid).variables == kept


def test_a_retry_brings_tag_variables_and_cap_along(b: Bench) -> None:
    handler = b.handler("web", tag={"allow": ["v*"]})
    first = send(b, handler, evaluation(b, handler, tag="v1", variable=("TUTUM_X", "y")))
    assert isinstance(first, Accepted)
    b.finish(b.claimed(), success=False)
    retried = b.store.retry(b.admin, first.action_uuid, call(handler).origin)
    assert (retried.tag, retried.variables) == ("v1", {"TUTUM_X": "y"})
    b.finish(b.claimed())
    scale = b.handler("web", Operation.SCALEUP, max_containers=4)
    second = send(b, scale, evaluation(b, scale, handler_cap=4), amount=3)
    assert isinstance(second, Accepted)
    claim = b.claimed()
    assert b.queue.amounts(claim) == ((3, 4),)
    b.finish(claim, success=False)
    b.store.retry(b.admin, second.action_uuid, call(scale).origin)
    assert b.queue.amounts(b.claimed()) == ((3, 4),)


def test_an_old_url_may_be_called_until_its_grace_ends_and_only_that(b: Bench) -> None:
    old = b.handler("web")
    new = b.store.rotate_handler(b.admin, old.service_uuid, old.uuid, b.clock() + timedelta(seconds=100))
    assert new.uuid != old.uuid
    assert new.rotation is not None
    assert new.rotation.old_called is None
    with pytest.raises(NotFoundError):
        b.store.handler(b.admin, old.service_uuid, old.uuid)
    b.clock.move(99)
    b.call(old)
    b.call(new)
    shown = b.store.handler(b.admin, new.service_uuid, new.uuid)
    assert shown.rotation is not None
    assert (shown.rotation.old_called, shown.rotation.old_address) == (b.clock(), call(old).origin.address)
    assert shown.calls == 2
    b.clock.move(2)
    with pytest.raises(NotFoundError):
        b.call(old)
    b.call(new)
    assert b.store.handler(b.admin, new.service_uuid, new.uuid).rotation is None


def test_a_handler_that_is_deleted_takes_its_old_url_with_it(b: Bench) -> None:
    old = b.handler("web")
    new = b.store.rotate_handler(b.admin, old.service_uuid, old.uuid, b.clock() + timedelta(seconds=100))
    b.store.delete_handler(b.admin, new.service_uuid, new.uuid)
    with pytest.raises(NotFoundError):
        b.call(old)


def test_calls_are_counted_and_unused_handlers_listed(b: Bench) -> None:
    used, unused = b.handler("web"), b.handler("db")
    b.call(used)
    first = b.clock()
    b.clock.move(120)
    assert not b.queue.count_calls()
    b.call(used)
    for _ in range(2):
        shown = b.store.handler(b.admin, used.service_uuid, used.uuid)
        assert (shown.calls, shown.last_called) == (2, b.clock())
        b.queue.count_calls()
    assert b.store.handler(b.admin, unused.service_uuid, unused.uuid).last_called is None
    assert [one.uuid for one in b.store.unused_handlers(b.admin, b.clock(), query()).objects] == [unused.uuid]
    assert not b.store.unused_handlers(b.admin, first - timedelta(days=1), query()).objects
    b.clock.move(1000)
    b.queue.count_calls()
    found = b.store.unused_handlers(b.admin, b.clock() - timedelta(seconds=500), query())
    assert {one.uuid for one in found.objects} == {used.uuid, unused.uuid}
    assert (found.total, {one.calls for one in found.objects}) == (2, {0, 2})


def test_counting_and_calls_never_wait_for_each_other(b: Bench) -> None:
    # Numbers rise while UUIDs do as they like: who locks by the one and who by the other would meet.
    made = [b.handler(name) for name in ("web", "db") for _ in range(10)]
    stop, faults = threading.Event(), list[Exception]()

    def count() -> None:
        while not stop.is_set():
            b.clock.move(120)
            try:
                b.queue.count_calls()
            except Exception as error:  # noqa: BLE001 (the test fails with it)
                faults.append(error)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        for _ in range(60):
            told: Future[Sequence[CallResult]] = Future()
            b.intake.store([call(handler) for handler in made], told.set_result)
            assert all(isinstance(result, Accepted) for result in told.result(30))
    finally:
        stop.set()
        counting.join(60)
    assert not faults
    b.clock.move(120)
    b.queue.count_calls()
    assert {b.store.handler(b.admin, one.service_uuid, one.uuid).calls for one in made} == {60}


def test_progress_is_told_while_the_handler_is_there(b: Bench) -> None:
    handler = b.handler("web", show_log=True)
    result = send(b, handler, evaluation(b, handler))
    assert isinstance(result, Accepted)
    reference = (result.handler_seq, result.action_seq)
    progress = b.store.progress([reference])[reference]
    assert (progress.action.uuid, progress.action.state) == (result.action_uuid, ActionState.PENDING)
    assert progress.options == {"show_log": True}
    other = b.handler("db")
    foreign = accept(b.intake, call(other)).result(10)
    assert not b.store.progress([(foreign.handler_seq, result.action_seq)])
    b.store.delete_handler(b.admin, handler.service_uuid, handler.uuid)
    assert not b.store.progress([reference])


def test_a_delivery_is_read_with_its_content_by_its_owner_only(b: Bench) -> None:
    handler = b.handler("web")
    accept(b.intake, replace(call(handler), content='{"headers": [["a", "b"]], "body": "hi"}')).result(10)
    (listed,) = b.store.deliveries(b.admin, handler.service_uuid, handler.uuid, query()).objects
    assert (listed.outcome, listed.content) == (DeliveryOutcome.QUEUED, {})
    read = b.store.delivery(b.admin, handler.service_uuid, handler.uuid, listed.number)
    assert read.content == {"headers": [["a", "b"]], "body": "hi"}
    other = b.handler("web")
    with pytest.raises(NotFoundError):
        b.store.delivery(b.admin, other.service_uuid, other.uuid, listed.number)
    member = b.store.add_user("member", is_admin=False)
    with pytest.raises(NotFoundError):
        b.store.delivery(member, handler.service_uuid, handler.uuid, listed.number)
