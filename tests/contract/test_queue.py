"""The promises of Store, Intake and Queue in ports.py that make a call durable, single, ordered and repeatable."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, LEASE, ORIGIN, Bench, bench, call, query, snapshot
from tutumd.errors import LeaseLostError, NotFoundError, UnavailableError
from tutumd.model import ActionState, Operation, Outcome, ServiceState, Verb


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as opened:
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


def test_a_wanted_target_outlives_a_look_at_the_engine(b: Bench) -> None:
    web = b.service_uuid("web")
    b.store.submit(web, Verb.SCALE, target=5, origin=ORIGIN)
    b.show("web", "db", containers=2)
    assert b.store.service(b.admin, web).target == 5
    b.queue.finish(b.claimed(), Outcome(success=False, reason="no"), snapshot("web", containers=2))
    assert b.store.service(b.admin, web).target == 2


def test_amounts_stay_with_their_deliveries_in_order(b: Bench) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    for amount in (3, 1, 2):
        b.call(handler, amount)
    assert b.queue.amounts(b.claimed()) == (3, 1, 2)


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
        b.intake.accept(replace(wrong, service_uuid=b.service_uuid("db"))).result(10)
    assert b.claim() is None


def test_500_calls_from_many_threads_are_one_action(b: Bench) -> None:
    handler = b.handler("web")
    futures = [b.intake.accept(call(handler)) for _ in range(500)]
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


def test_a_service_keeps_its_uuid_and_handlers_while_its_containers_change(b: Bench) -> None:
    handler, web = b.handler("web"), b.service_uuid("web")
    old = b.store.service(b.admin, web).containers
    b.show("db")
    gone = b.store.service(b.admin, web)
    assert not gone.bound
    assert gone.containers == ()
    assert gone.warnings
    b.queue.sync(ENGINE, [snapshot("web", prefix="new"), snapshot("db")])
    back = b.store.service(b.admin, web)
    assert back.bound
    assert set(back.containers).isdisjoint(old)
    assert b.store.handler(b.admin, web, handler.uuid) == handler


def test_a_service_that_is_long_gone_is_forgotten_but_for_its_handlers(b: Bench) -> None:
    web, db = b.service_uuid("web"), b.service_uuid("db")
    b.handler("web")
    b.show()
    b.clock.move(2 * 24 * 3600)
    b.show()
    assert [s.uuid for s in b.store.services(b.admin, query()).objects] == [web]
    b.show("web", "db")
    assert b.service_uuid("db") == db  # the same service has the same UUID, even if its row was forgotten


def test_the_state_tells_what_the_action_in_progress_does(b: Bench) -> None:
    web = b.service_uuid("web")
    assert b.store.service(b.admin, web).state is ServiceState.RUNNING
    b.call(b.handler("web"))
    claim = b.claimed()
    assert b.store.service(b.admin, web).state is ServiceState.REDEPLOYING
    assert [s.uuid for s in b.store.services(b.admin, query(state="Redeploying")).objects] == [web]
    b.finish(claim)
    assert b.store.service(b.admin, web).state is ServiceState.RUNNING


def test_an_ended_action_tells_what_changed(b: Bench) -> None:
    b.call(b.handler("web"))
    claim = b.claimed()
    outcome = Outcome(
        success=True,
        image_before="sha256:1",
        image_after="sha256:2",
        containers_before=("web-c1", "web-c2"),
        containers_after=("web-n1", "web-n2"),
    )
    b.queue.finish(claim, outcome, snapshot("web", prefix="n"))
    action = b.store.action(b.admin, claim.action.uuid)
    assert action.state is ActionState.SUCCESS
    assert action.containers_after == b.store.service(b.admin, claim.service.uuid).containers
    assert set(action.containers_before).isdisjoint(action.containers_after)
    assert (action.image_before, action.image_after) == ("sha256:1", "sha256:2")
    for uuid in action.containers_before:
        assert b.store.container(b.admin, uuid).state == "Terminated"


def test_terminating_ends_handlers_and_cancels_what_waits(b: Bench) -> None:
    handler, web = b.handler("web"), b.service_uuid("web")
    b.store.submit(web, Verb.TERMINATE, target=None, origin=ORIGIN)
    waiting = b.call(handler)
    b.finish(b.claimed())
    with pytest.raises(NotFoundError):
        b.call(handler)
    with pytest.raises(NotFoundError):
        b.store.service(b.admin, web)
    assert b.store.action(b.admin, waiting).state is ActionState.CANCELED
    assert b.claim() is None


def test_a_member_sees_only_what_its_label_gives(b: Bench) -> None:
    bob = b.store.add_user("bob", is_admin=False)
    b.queue.sync(ENGINE, [snapshot("web", owner="bob"), snapshot("db", owner="nobody")])
    web, db = b.service_uuid("web"), b.service_uuid("db")
    assert [s.name for s in b.store.services(bob, query()).objects] == ["web"]
    assert b.store.service(bob, web).owner == "bob"
    unknown = b.store.service(b.admin, db)
    assert unknown.owner == "admin"
    assert "nobody" in unknown.warnings[0]
    with pytest.raises(NotFoundError):
        b.store.service(bob, db)
    b.store.remove_user("bob")
    assert b.store.service(b.admin, web).owner == "admin"


def test_a_request_row_is_handed_out_once_and_its_answer_read_once(b: Bench) -> None:
    request = b.store.ask(b.store.service(b.admin, b.service_uuid("web")), "logs", {"lines": 5})
    assert b.queue.requests(["swarm"]) == ()
    [(uuid, kind, service, arguments)] = b.queue.requests(["docker"])
    assert (uuid, kind, service.name, arguments) == (request, "logs", "web", {"lines": 5})
    assert b.queue.requests(["docker"]) == ()
    assert b.store.answer(request) is None
    b.queue.answer_request(request, {"logs": "x"})
    assert b.store.answer(request) == {"logs": "x"}
    assert b.store.answer(request) is None


def test_a_locked_database_refuses_calls_and_takes_them_again_later(b: Bench) -> None:
    handler = b.handler("web")
    with b.database.write():
        future = b.intake.accept(call(handler))
        with pytest.raises(UnavailableError):
            future.result(30)
    assert b.claim() is None
    b.call(handler)
    assert b.claim() is not None


def test_a_full_disk_refuses_calls_and_takes_them_again_when_there_is_room(b: Bench) -> None:
    handler = b.handler("web")
    limit_pages(b, 1)
    refused = 0
    for _ in range(200):
        try:
            b.call(handler, 1)
        except UnavailableError:
            refused += 1
    assert refused
    limit_pages(b, 1_000_000)
    action = b.call(handler)
    assert b.store.action(b.admin, action).deliveries == 200 - refused + 1


def limit_pages(b: Bench, pages: int) -> None:
    """Let every connection of the database fail as on a full disk once it wants more pages than there are."""
    b.database.close()  # new connections are made, through the listener

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    sa.event.listen(b.database._engine, "connect", limit)
