"""The promises of Store, Intake and Queue in ports.py that make a call durable, single, ordered and repeatable."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.stores import LEASE, ORIGIN, Bench, accept, bench, call, query, second_intake, snapshot
from tutumd.errors import ConflictError, LeaseLostError, NotFoundError
from tutumd.model import ActionState, Operation, Outcome, Verb


@pytest.fixture
def b(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as opened:
        opened.show("web", "db")
        yield opened


def verbs(b: Bench, service: str) -> list[tuple[Verb, ActionState]]:
    found = b.store.actions(b.admin, query(object=b.service_uuid(service))).objects
    return [(action.verb, action.state) for action in reversed(found)]


def test_calls_join_the_pending_action_of_their_operation(b: Bench) -> None:
    redeploy, scale_up = b.handler("web"), b.handler("web", Operation.SCALEUP)
    first = b.call(redeploy)
    assert b.call(redeploy) == first
    assert b.call(scale_up) != first
    assert b.store.action(b.admin, first).deliveries == 2


def test_a_call_never_joins_an_action_that_was_claimed(b: Bench) -> None:
    handler = b.handler("web")
    first = b.call(handler)
    claim = b.claimed()
    second = b.call(handler)
    assert second != first
    assert b.call(handler) == second
    assert b.claim() is None  # one at a time
    b.finish(claim)
    assert b.claimed().action.uuid == second


def test_two_services_run_at_the_same_time(b: Bench) -> None:
    b.call(b.handler("web"))
    b.call(b.handler("db"))
    assert {b.claimed().service.name, b.claimed().service.name} == {"web", "db"}
    assert b.claim() is None


def test_due_actions_of_a_service_run_in_their_order(b: Bench) -> None:
    made = [b.call(b.handler("web", Operation.SCALEUP)), b.call(b.handler("web"))]
    made.append(b.store.submit(b.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN).uuid)
    ran = []
    while claim := b.claim():
        ran.append(claim.action.uuid)
        b.finish(claim)
    assert ran == made


def test_stop_closes_the_open_actions_so_that_nothing_jumps_over_it(b: Bench) -> None:
    handler, web = b.handler("web"), b.service_uuid("web")
    before = b.call(handler)
    b.store.submit(web, Verb.STOP, target=None, origin=ORIGIN)
    after = b.call(handler)
    assert before != after
    assert [verb for verb, _ in verbs(b, "web")] == [Verb.REDEPLOY, Verb.STOP, Verb.REDEPLOY]


def test_scaling_twice_to_the_same_number_is_one_action(b: Bench) -> None:
    web = b.service_uuid("web")
    first = b.store.submit(web, Verb.SCALE, target=5, origin=ORIGIN)
    assert b.store.submit(web, Verb.SCALE, target=5, origin=ORIGIN).uuid == first.uuid
    assert b.store.submit(web, Verb.SCALE, target=6, origin=ORIGIN).uuid != first.uuid
    assert b.store.service(b.admin, web).target == 6


def test_amounts_stay_with_their_deliveries_in_order(b: Bench) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    for amount in (3, 1, 2):
        b.call(handler, amount)
    assert b.queue.amounts(b.claimed()) == ((3, None), (1, None), (2, None))


def test_a_revoked_handler_is_not_called(b: Bench) -> None:
    handler = b.handler("web")
    b.store.delete_handler(b.admin, handler.service_uuid, handler.uuid)
    with pytest.raises(NotFoundError):
        b.call(handler)
    assert b.claim() is None


def test_a_handler_below_another_service_is_not_called(b: Bench) -> None:
    handler = b.handler("web")
    wrong = call(handler)
    with pytest.raises(NotFoundError):
        accept(b.intake, replace(wrong, service_uuid=b.service_uuid("db"))).result(10)
    assert b.claim() is None


def test_500_calls_from_many_threads_are_one_action(b: Bench) -> None:
    handler = b.handler("web")
    futures = [accept(b.intake, call(handler)) for _ in range(500)]
    wait(futures, 30)
    assert len({future.result().action_uuid for future in futures}) == 1
    assert b.store.action(b.admin, futures[0].result().action_uuid).deliveries == 500


def test_two_workers_never_claim_the_same_action(b: Bench) -> None:
    for index in range(20):
        b.show(*[f"s{n}" for n in range(index + 1)])
    for index in range(20):
        b.call(b.handler(f"s{index}"))
    claimed: list[str] = []

    def work(name: str) -> None:
        while claim := b.queue.claim(name, ["docker"], lease=LEASE):
            claimed.append(claim.action.uuid)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(claimed) == len(set(claimed)) == 20


def test_a_worker_claims_only_actions_of_its_own_engines(b: Bench) -> None:
    b.call(b.handler("web"))
    assert b.queue.claim("other", ["swarm"], lease=LEASE) is None
    assert b.claim() is not None


def test_an_ended_lease_is_taken_over_and_the_old_worker_changes_nothing_any_more(b: Bench) -> None:
    b.call(b.handler("web"))
    old = b.claimed()
    b.queue.save_journal(old, {"step": 1})
    b.clock.move(LEASE.total_seconds() + 0.1)
    new = b.claimed()
    assert new.action.uuid == old.action.uuid
    assert new.journal == {"step": 1}
    assert new.attempts == 0
    changes: tuple[Callable[[], object], ...] = (
        lambda: b.queue.save_journal(old, {"step": 2}),
        lambda: b.queue.renew(old, lease=LEASE),
        lambda: b.queue.save_target(old, 9),
        lambda: b.queue.retry_later(old, delay=timedelta(0), reason=""),
        lambda: b.queue.release(old),
        lambda: b.queue.finish(old, Outcome(success=True), snapshot("web", containers=9)),
    )
    for change in changes:
        with pytest.raises(LeaseLostError):
            change()
    assert b.store.service(b.admin, old.service.uuid).target == 2
    b.finish(new)
    assert b.store.action(b.admin, old.action.uuid).state is ActionState.SUCCESS


def test_a_renewed_lease_is_not_taken_over(b: Bench) -> None:
    b.call(b.handler("web"))
    claim = b.claimed()
    b.clock.move(8)
    b.queue.renew(claim, lease=LEASE)
    b.clock.move(8)
    assert b.claim() is None


def test_an_action_that_waits_for_its_retry_stays_in_progress_and_holds_the_service(b: Bench) -> None:
    handler = b.handler("web")
    first = b.call(handler)
    b.queue.retry_later(b.claimed(), delay=timedelta(seconds=5), reason="the engine is away")
    b.call(handler)
    assert b.store.action(b.admin, first).state is ActionState.IN_PROGRESS
    assert b.claim() is None
    b.clock.move(5)
    again = b.claimed()
    assert again.action.uuid == first
    assert again.attempts == 1


def test_a_process_that_is_alone_takes_over_at_once(b: Bench) -> None:
    b.call(b.handler("web"))
    first = b.claimed()
    b.queue.take_over()
    assert b.claimed().action.uuid == first.action.uuid


def test_the_targets_of_a_scale_up_survives_a_takeover(b: Bench) -> None:
    b.call(b.handler("web", Operation.SCALEUP), 3)
    claim = b.claimed()
    b.queue.save_target(claim, 5)
    b.queue.take_over()
    assert b.claimed().action.target == 5


def test_a_pending_action_is_canceled_at_once_and_nothing_joins_it(b: Bench) -> None:
    handler = b.handler("web")
    first = b.call(handler)
    assert b.store.action(b.admin, first).can_be_canceled
    canceled = b.store.cancel(b.admin, first)
    assert canceled.state is ActionState.CANCELED
    assert canceled.ended is not None
    assert not canceled.can_be_canceled
    with pytest.raises(ConflictError):
        b.store.cancel(b.admin, first)
    assert b.claim() is None
    assert b.call(handler) != first


def test_a_running_action_is_asked_to_end_and_its_worker_is_told(b: Bench) -> None:
    b.call(b.handler("web"))
    claim = b.claimed()
    assert b.queue.renew(claim, lease=LEASE) is False
    assert b.store.cancel(b.admin, claim.action.uuid).state is ActionState.CANCELING
    assert b.queue.renew(claim, lease=LEASE) is True
    b.queue.finish(claim, Outcome(success=False, canceled=True, reason="canceled on request"), None)
    assert b.store.action(b.admin, claim.action.uuid).state is ActionState.CANCELED


def test_a_retry_is_a_new_action_that_adds_what_the_old_one_should_have_added(b: Bench) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    b.call(handler, 3)
    b.call(handler, 2)
    claim = b.claimed()
    with pytest.raises(ConflictError):
        b.store.retry(b.admin, claim.action.uuid, ORIGIN)
    b.finish(claim, success=False)
    assert b.store.action(b.admin, claim.action.uuid).can_be_retried
    retried = b.store.retry(b.admin, claim.action.uuid, ORIGIN)
    assert retried.uuid != claim.action.uuid
    again = b.claimed()
    assert again.action.uuid == retried.uuid
    assert b.queue.amounts(again) == ((5, None),)


def test_calls_and_claims_from_many_threads_lose_nothing_and_add_nothing_twice(b: Bench) -> None:
    handlers = [b.handler(name, operation) for name in ("web", "db") for operation in Operation]
    stop = threading.Event()
    added = {"web": 0, "db": 0}
    runs: list[str] = []

    def work(name: str) -> None:
        while not stop.is_set() or b.claim_would_find():
            claim = b.queue.claim(name, ["docker"], lease=LEASE)
            if claim is None:
                continue
            runs.append(claim.action.uuid)
            if claim.action.verb is Verb.SCALEUP:
                added[claim.service.name] += sum(amount for amount, _ in b.queue.amounts(claim))
            b.finish(claim)

    workers = [threading.Thread(target=work, args=(str(n),)) for n in range(3)]
    for worker in workers:
        worker.start()
    futures = [accept(b.intake, call(handlers[n % 4], 1)) for n in range(400)]
    joined = {future.result(60).action_uuid for future in futures}
    stop.set()
    for worker in workers:
        worker.join(60)
    assert joined == set(runs)
    assert len(runs) == len(set(runs))
    assert added == {"web": 100, "db": 100}


def test_revoking_on_one_replica_holds_on_the_other(b: Bench, database_url: str) -> None:
    with second_intake(b, database_url) as other:
        for _ in range(20):
            handler = b.handler("web")
            futures = [accept(other, call(handler)) for _ in range(30)]
            b.store.delete_handler(b.admin, handler.service_uuid, handler.uuid)
            late = accept(other, call(handler))
            with pytest.raises(NotFoundError):
                late.result(30)
            wait(futures, 30)


def test_two_replicas_join_their_calls_in_one_action(b: Bench, database_url: str) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    with second_intake(b, database_url) as other:
        futures = [accept(intake, call(handler)) for _ in range(100) for intake in (b.intake, other)]
        assert len({future.result(60).action_uuid for future in futures}) == 1
    assert b.queue.amounts(b.claimed()) == ((1, None),) * 200
