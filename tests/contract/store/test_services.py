"""Promises of Store and Queue about services: identity, owners, requests, retention."""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, ORIGIN, StoreBed, accept, call, query, snapshot
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import ActionState, Definition, NewKey, Outcome, Reference, Verb
from tutumd.store.tables.services import handlers


def test_a_requested_target_survives_a_discovery(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    bed.store.submit(bed.admin, web, Verb.SCALE, target=5, origin=ORIGIN)
    bed.show("web", "db", containers=2)
    assert bed.store.service(bed.admin, web).target == 5
    bed.queue.finish(bed.claimed(), Outcome(success=False, reason="no"), snapshot("web", containers=2))
    assert bed.store.service(bed.admin, web).target == 2


def test_a_service_keeps_its_uuid_and_handlers_while_its_containers_change(bed: StoreBed) -> None:
    handler, web = bed.handler("web"), bed.service_uuid("web")
    old = bed.store.service(bed.admin, web).containers
    bed.show("db")
    gone = bed.store.service(bed.admin, web)
    assert not gone.bound
    assert gone.containers == ()
    assert gone.warnings
    bed.sync(snapshot("web", prefix="new"), snapshot("db"))
    found_again = bed.store.service(bed.admin, web)
    assert found_again.bound
    assert set(found_again.containers).isdisjoint(old)
    assert bed.store.handler(bed.admin, web, handler.uuid) == handler


def test_odd_names_keep_no_other_service_from_being_stored(bed: StoreBed) -> None:
    odd = replace(snapshot("odd"), name="\0" + "n" * 1_000, stack="s" * 1_000, owner="o" * 1_000, run_command="\ud800")
    container = replace(odd.containers[0], name="c" * 1_000, run_command="a\0b")
    bed.sync(replace(odd, containers=(container,)), snapshot("web"))
    stored = {service.name: service for service in bed.store.services(bed.admin, query()).objects}
    assert {"n" * 255, "web"} <= stored.keys()
    assert (stored["n" * 255].stack, stored["n" * 255].run_command) == ("s" * 255, "?")
    bed.sync(replace(odd, containers=(container,)), snapshot("web"))


def test_what_runs_pulled_is_remembered_for_each_engine(bed: StoreBed) -> None:
    bed.queue.update_pulled("docker", added=["app@sha256:b", "app@sha256:a"])
    bed.queue.update_pulled("docker", added=["app@sha256:a"])
    bed.queue.update_pulled("other", added=["app@sha256:a"])
    assert bed.queue.pulled_images("docker") == {"app@sha256:a", "app@sha256:b"}
    bed.queue.update_pulled("docker", removed=["app@sha256:b", "app@sha256:c"])
    assert bed.queue.pulled_images("docker") == {"app@sha256:a"}
    assert bed.queue.pulled_images("other") == {"app@sha256:a"}


def test_an_unreadable_service_stays_as_it_was(bed: StoreBed) -> None:
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    before = bed.store.service(bed.admin, web)
    revisions = bed.queue.revisions(ENGINE.name)
    bed.queue.sync(ENGINE, [], revisions=revisions, is_unreadable=lambda selector: selector == before.selector)
    assert bed.store.service(bed.admin, web) == before
    assert not bed.store.service(bed.admin, db).bound


def test_a_service_that_is_long_gone_is_deleted_unless_it_has_handlers(bed: StoreBed) -> None:
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    bed.handler("web")
    bed.show()
    bed.clock.move(2 * 24 * 3600)
    bed.show()
    assert [s.uuid for s in bed.store.services(bed.admin, query()).objects] == [web]
    bed.show("web", "db")
    assert bed.service_uuid("db") == db  # the same service has the same UUID, even if its row was forgotten


def test_an_ended_action_says_what_changed(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    outcome = Outcome(
        success=True,
        image_before="sha256:1",
        image_after="sha256:2",
        containers_before=("web-c1", "web-c2"),
        containers_after=("web-n1", "web-n2"),
    )
    bed.queue.finish(claim, outcome, snapshot("web", prefix="n"))
    action = bed.store.action(bed.admin, claim.action.uuid)
    assert action.state is ActionState.SUCCESS
    assert action.containers_after == bed.store.service(bed.admin, claim.service.uuid).containers
    assert set(action.containers_before).isdisjoint(action.containers_after)
    assert (action.image_before, action.image_after) == ("sha256:1", "sha256:2")
    for uuid in action.containers_before:
        assert bed.store.container(bed.admin, uuid).state == "Terminated"


def test_terminating_deletes_handlers_and_cancels_pending_actions(bed: StoreBed) -> None:
    handler, web = bed.handler("web"), bed.service_uuid("web")
    bed.store.submit(bed.admin, web, Verb.TERMINATE, target=None, origin=ORIGIN)
    waiting = bed.call(handler)
    bed.finish(bed.claimed())
    with pytest.raises(NotFoundError):
        bed.call(handler)
    with pytest.raises(NotFoundError):
        bed.store.service(bed.admin, web)
    assert bed.store.action(bed.admin, waiting).state is ActionState.CANCELED
    assert bed.claim() is None


def test_a_member_sees_only_services_whose_label_names_them(bed: StoreBed) -> None:
    bob = bed.store.add_user("bob", is_admin=False)
    bed.sync(snapshot("web", owner="bob"), snapshot("db", owner="nobody"))
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    assert [s.name for s in bed.store.services(bob, query()).objects] == ["web"]
    assert bed.store.service(bob, web).owner == "bob"
    unknown = bed.store.service(bed.admin, db)
    assert unknown.owner == "admin"
    assert "nobody" in unknown.warnings[0]
    with pytest.raises(NotFoundError):
        bed.store.service(bob, db)
    bed.store.remove_user("bob")
    assert bed.store.service(bed.admin, web).owner == "admin"


def test_a_new_user_inherits_only_labelled_services_of_a_namesake(bed: StoreBed) -> None:
    bob = bed.store.add_user("bob", is_admin=False)
    bed.sync(snapshot("web", owner="bob"), snapshot("db"))
    definition = Definition(command="sleep 1")
    made = bed.store.create_service(bob, engine="local", name="made", image="none", definition=definition, target=1)
    assert bed.store.remove_user("bob") == 1
    assert bed.store.service(bed.admin, made.uuid).owner == "admin"
    assert "bob (removed)" in bed.store.service(bed.admin, made.uuid).warnings[0]
    bob = bed.store.add_user("bob", is_admin=False)
    assert [s.name for s in bed.store.services(bob, query()).objects] == ["web"]


def test_a_user_is_added_with_the_key_or_not_at_all(bed: StoreBed) -> None:
    first = bed.store.add_user("eve", is_admin=True, key=NewKey(key_sha256="5" * 64, hint="hint"))
    found = bed.store.user_by_key("5" * 64)
    assert found is not None
    assert (found.uuid, found.access.credential) == (first.uuid, "hint")
    with pytest.raises(ConflictError):
        bed.store.add_user("ann", is_admin=True, key=NewKey(key_sha256="5" * 64, hint="hint"))
    assert "ann" not in {user.name for user in bed.store.users()}


def test_a_request_is_taken_once_and_its_response_read_once(bed: StoreBed) -> None:
    request = bed.store.add_request(bed.store.service(bed.admin, bed.service_uuid("web")), "logs", {"lines": 5})
    assert bed.queue.take_requests(["swarm"]) == ()
    [taken] = bed.queue.take_requests(["docker"])
    assert (taken.uuid, taken.kind, taken.service.name, taken.arguments) == (request, "logs", "web", {"lines": 5})
    assert bed.queue.take_requests(["docker"]) == ()
    assert bed.store.pop_response(request) is None
    bed.queue.save_response(request, {"logs": "x"})
    assert bed.store.pop_response(request) == {"logs": "x"}
    assert bed.store.pop_response(request) is None


def test_log_lines_are_read_while_the_action_runs(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.queue.add_log_line(claim, "pulling\0")
    [first] = bed.store.log_lines(bed.admin, claim.action.uuid, 0)
    assert first.text == "pulling"
    bed.queue.add_log_line(claim, "healthy")
    assert [line.text for line in bed.store.log_lines(bed.admin, claim.action.uuid, first.number)] == ["healthy"]


def test_a_request_about_a_terminated_service_hides_no_other(bed: StoreBed) -> None:
    gone, there = (bed.store.service(bed.admin, bed.service_uuid(name)) for name in ("web", "db"))
    bed.store.add_request(gone, "logs", {})
    request = bed.store.add_request(there, "logs", {})
    bed.store.submit(bed.admin, gone.uuid, Verb.TERMINATE, target=None, origin=ORIGIN)
    bed.finish(bed.claimed())
    assert [taken.uuid for taken in bed.queue.take_requests(["docker"])] == [request]


def test_a_service_that_gets_a_handler_just_before_its_deletion_stays(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    bed.show("db")
    bed.clock.move(2 * 24 * 3600)
    with ThreadPoolExecutor(1) as pool:
        with bed.database.write() as connection:
            connection.execute(
                sa.insert(handlers).values(
                    uuid="0224815a-c156-44e4-92d7-997c69354438",
                    service_uuid=web,
                    operation="REDEPLOY",
                    created=bed.clock.now,
                )
            )
            # It sees the service without the handler, wants to forget it, and has to wait for this transaction.
            forgetting = pool.submit(bed.show, "db")
            wait([forgetting], 0.5)
        forgetting.result(120)
    assert bed.store.handlers(bed.admin, web, query()).total == 1


def test_a_pending_action_says_that_no_worker_serves_its_engine(bed: StoreBed) -> None:
    accepted = accept(bed.intake, call(bed.handler("web"))).result(120)
    uuid = accepted.action_uuid
    assert bed.store.action(bed.admin, uuid).reason == ""
    bed.clock.move(16)
    waiting = bed.store.action(bed.admin, uuid)
    assert waiting.state is ActionState.PENDING
    assert waiting.reason == "waiting: no worker serves engine 'docker' now; it begins when one does"
    assert bed.store.actions(bed.admin, query(uuid=uuid)).objects[0].reason == waiting.reason
    reference = Reference(accepted.handler_seq, accepted.action_seq)
    assert bed.store.progress([reference])[reference].action.reason == waiting.reason
    bed.queue.register("worker", [ENGINE])
    assert bed.store.action(bed.admin, uuid).reason == ""
