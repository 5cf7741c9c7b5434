"""The promises of Store and Queue in ports.py about services: identity, owners, history, and what is forgotten."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, ORIGIN, Bench, accept, bench, call, query, snapshot
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import ActionState, Definition, Outcome, ServiceState, Verb
from tutumd.store.database import Database
from tutumd.store.queue import SqlQueue
from tutumd.store.tables import handlers
from tutumd.store.wakeup import Wakeup


@pytest.fixture
def b(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as opened:
        opened.show("web", "db")
        yield opened


def test_a_wanted_target_outlives_a_look_at_the_engine(b: Bench) -> None:
    web = b.service_uuid("web")
    b.store.submit(web, Verb.SCALE, target=5, origin=ORIGIN)
    b.show("web", "db", containers=2)
    assert b.store.service(b.admin, web).target == 5
    b.queue.finish(b.claimed(), Outcome(success=False, reason="no"), snapshot("web", containers=2))
    assert b.store.service(b.admin, web).target == 2


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


def test_a_service_that_could_not_be_looked_for_stays_as_it_was(b: Bench) -> None:
    web, db = b.service_uuid("web"), b.service_uuid("db")
    before = b.store.service(b.admin, web)
    b.queue.sync(ENGINE, [], is_unreadable=lambda selector: selector == before.selector)
    assert b.store.service(b.admin, web) == before
    assert not b.store.service(b.admin, db).bound


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


def test_a_new_user_gets_nothing_of_one_who_had_the_name_but_what_a_label_gives(b: Bench) -> None:
    b.store.add_user("bob", is_admin=False)
    b.queue.sync(ENGINE, [snapshot("web", owner="bob"), snapshot("db")])
    definition = Definition(command="sleep 1")
    made = b.store.create_service(
        engine="local", name="made", image="none", owner="bob", definition=definition, target=1
    )
    assert b.store.remove_user("bob") == 1
    assert b.store.service(b.admin, made.uuid).owner == "admin"
    assert "bob (removed)" in b.store.service(b.admin, made.uuid).warnings[0]
    bob = b.store.add_user("bob", is_admin=False)
    assert [s.name for s in b.store.services(bob, query()).objects] == ["web"]


def test_a_user_is_added_with_the_key_or_not_at_all(b: Bench) -> None:
    first = b.store.add_user("eve", is_admin=True, key=("5" * 64, "hint"))
    assert b.store.user_by_key("5" * 64) == first
    with pytest.raises(ConflictError):
        b.store.add_user("ann", is_admin=True, key=("5" * 64, "hint"))
    assert "ann" not in {user.name for user in b.store.users()}


def test_a_request_row_is_handed_out_once_and_its_answer_read_once(b: Bench) -> None:
    request = b.store.add_request(b.store.service(b.admin, b.service_uuid("web")), "logs", {"lines": 5})
    assert b.queue.take_requests(["swarm"]) == ()
    [taken] = b.queue.take_requests(["docker"])
    assert (taken.uuid, taken.kind, taken.service.name, taken.arguments) == (request, "logs", "web", {"lines": 5})
    assert b.queue.take_requests(["docker"]) == ()
    assert b.store.pop_response(request) is None
    b.queue.save_response(request, {"logs": "x"})
    assert b.store.pop_response(request) == {"logs": "x"}
    assert b.store.pop_response(request) is None


def test_lines_of_a_run_are_read_while_it_runs(b: Bench) -> None:
    b.call(b.handler("web"))
    claim = b.claimed()
    b.queue.add_log_line(claim, "pulling\0")
    [first] = b.store.log_lines(b.admin, claim.action.uuid, 0)
    assert first.text == "pulling"
    b.queue.add_log_line(claim, "healthy")
    assert [line.text for line in b.store.log_lines(b.admin, claim.action.uuid, first.number)] == ["healthy"]


def test_deliveries_tell_what_became_of_each_call(b: Bench) -> None:
    handler = b.handler("web")
    action = b.call(handler)
    b.call(handler)
    page = b.store.deliveries(b.admin, handler.service_uuid, handler.uuid, query())
    assert page.total == 2
    assert [(d.outcome, d.action_uuid, d.address) for d in page.objects] == [
        ("joined", action, "127.0.0.1"),
        ("queued", action, "127.0.0.1"),
    ]


def test_what_is_old_is_deleted_in_parts_and_what_is_live_stays(b: Bench) -> None:
    handler = b.handler("web")
    for _ in range(5):
        b.call(handler)
        b.finish(b.claimed())
    b.clock.move(91 * 24 * 3600)
    live = b.call(handler)
    keep = timedelta(days=90)
    assert b.queue.prune(keep, 3) == 6
    assert b.queue.prune(keep, 3) == 4
    assert b.queue.prune(keep, 3) == 0
    assert [a.uuid for a in b.store.actions(b.admin, query()).objects] == [live]
    assert b.store.deliveries(b.admin, handler.service_uuid, handler.uuid, query()).total == 1


def test_a_request_about_a_service_that_is_gone_hides_no_other(b: Bench) -> None:
    gone, there = (b.store.service(b.admin, b.service_uuid(name)) for name in ("web", "db"))
    b.store.add_request(gone, "logs", {})
    asked = b.store.add_request(there, "logs", {})
    b.store.submit(gone.uuid, Verb.TERMINATE, target=None, origin=ORIGIN)
    b.finish(b.claimed())
    assert [request.uuid for request in b.queue.take_requests(["docker"])] == [asked]


def test_a_service_that_gets_a_handler_while_it_is_about_to_be_forgotten_stays(b: Bench) -> None:
    web = b.service_uuid("web")
    b.show("db")
    b.clock.move(2 * 24 * 3600)
    with ThreadPoolExecutor(1) as pool:
        with b.database.write() as connection:
            connection.execute(
                sa.insert(handlers).values(
                    uuid="0224815a-c156-44e4-92d7-997c69354438",
                    service_uuid=web,
                    operation="REDEPLOY",
                    created=b.clock.now,
                )
            )
            # It sees the service without the handler, wants to forget it, and has to wait for this transaction.
            forgetting = pool.submit(b.show, "db")
            wait([forgetting], 0.5)
        forgetting.result(30)
    assert b.store.handlers(b.admin, web, query()).total == 1


def test_a_pending_action_says_that_no_worker_serves_its_engine(b: Bench) -> None:
    accepted = accept(b.intake, call(b.handler("web"))).result(10)
    uuid = accepted.action_uuid
    assert b.store.action(b.admin, uuid).reason == ""
    b.clock.move(16)
    waiting = b.store.action(b.admin, uuid)
    assert waiting.state is ActionState.PENDING
    assert waiting.reason == "waiting: no worker serves engine 'docker' now; it begins when one does"
    assert b.store.actions(b.admin, query(uuid=uuid)).objects[0].reason == waiting.reason
    reference = (accepted.handler_seq, accepted.action_seq)
    assert b.store.progress([reference])[reference].action.reason == waiting.reason
    b.queue.register("worker", [ENGINE])
    assert b.store.action(b.admin, uuid).reason == ""


def test_an_engine_that_no_worker_serves_is_forgotten_once_nothing_waits_for_it(b: Bench) -> None:
    b.call(b.handler("web"))
    b.clock.move(25 * 3600)
    b.queue.prune(timedelta(days=90), 100)
    assert [engine.name for engine in b.store.engines()] == ["docker"]
    b.finish(b.claimed())
    b.queue.prune(timedelta(days=90), 100)
    assert b.store.engines() == ()


def test_two_workers_that_see_new_services_at_once_store_each_once(b: Bench, database_url: str) -> None:
    names = [f"new-{number}" for number in range(40)]
    database = Database(database_url)
    queues = [b.queue, SqlQueue(database, b.clock, Wakeup())]
    together = threading.Barrier(2)

    def sync(queue: SqlQueue) -> None:
        together.wait(10)
        queue.sync(ENGINE, [snapshot(name) for name in names])

    try:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(sync, queue) for queue in queues]:
                done.result(30)
    finally:
        database.close()
    shown = b.store.services(b.admin, query()).objects
    assert sorted(service.name for service in shown if service.name in names) == sorted(names)
