"""Services that are gone are forgotten on request, with their handlers; what comes back is a new service."""

import threading
from datetime import timedelta

import pytest

from tests.support.replica import Replica, make
from tests.support.stores import ORIGIN, StoreBed, query, snapshot
from tests.support.waiting import wait_until
from tutumd.application import services
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import ActionState, Definition, ServiceState, User, Verb
from tutumd.store.tables.services import services as table
from tutumd.store.upkeep import retention


def uuids(bed: StoreBed, viewer: User | None = None) -> list[str]:
    return [service.uuid for service in bed.store.services(viewer or bed.admin, query()).objects]


def test_a_forgotten_service_has_no_handlers_and_comes_back_as_a_new_one(bed: StoreBed) -> None:
    handler, web, db = bed.handler("web"), bed.service_uuid("web"), bed.service_uuid("db")
    bed.show("db")
    assert bed.store.forget(bed.admin, web).state is ServiceState.TERMINATED
    assert uuids(bed) == [db]
    with pytest.raises(NotFoundError):
        bed.store.service(bed.admin, web)
    with pytest.raises(NotFoundError):
        bed.call(handler)
    with pytest.raises(NotFoundError):
        bed.store.forget(bed.admin, web)
    bed.show("db")
    assert uuids(bed) == [db]

    bed.clock.move(60)
    bed.show("web", "db")
    found = bed.store.service(bed.admin, web)
    assert (found.name, found.state, found.gone_since) == ("web", ServiceState.RUNNING, None)
    assert (found.created, len(found.containers), found.target) == (bed.clock(), 2, 2)
    assert bed.store.handlers(bed.admin, web, query()).total == 0
    with pytest.raises(NotFoundError):
        bed.call(handler)
    bed.call(bed.handler("web"))
    bed.finish(bed.claimed())


def test_what_its_engine_shows_is_not_forgotten(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    with pytest.raises(ConflictError, match="web is not gone: engine 'docker' shows it"):
        bed.store.forget(bed.admin, web)
    definition = Definition(command="sleep 1")
    made = bed.store.create_service(
        bed.admin, engine="local", name="made", image="none", definition=definition, target=1
    )
    with pytest.raises(ConflictError):
        bed.store.forget(bed.admin, made.uuid)
    assert len(uuids(bed)) == 3


def test_waiting_actions_are_canceled_and_a_running_one_is_waited_for(bed: StoreBed) -> None:
    handler, web = bed.handler("web"), bed.service_uuid("web")
    bed.call(handler)
    claim = bed.claimed()
    waiting = bed.call(handler)
    bed.show("db")
    with pytest.raises(ConflictError, match="an action of web runs"):
        bed.store.forget(bed.admin, web)
    bed.finish(claim, success=False)
    bed.store.forget(bed.admin, web)
    action = bed.store.action(bed.admin, waiting)
    assert (action.state, action.reason) == (ActionState.CANCELED, "the service was forgotten")
    assert bed.claim() is None
    with pytest.raises(NotFoundError):
        bed.store.retry(bed.admin, waiting, ORIGIN)


def test_a_member_forgets_only_own_services(bed: StoreBed) -> None:
    ann = bed.store.add_user("ann", is_admin=False)
    bed.sync(snapshot("web", owner="ann"), snapshot("db"))
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    bed.show()
    with pytest.raises(NotFoundError):
        bed.store.forget(ann, db)
    bed.store.forget(ann, web)
    assert uuids(bed) == [db]


def test_a_look_that_began_before_does_not_keep_it(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    bed.show("db")
    revisions = bed.queue.revisions("docker")
    bed.store.forget(bed.admin, web)
    bed.show("db")
    assert bed.queue.revisions("docker") == revisions
    assert web not in uuids(bed)


def test_its_actions_are_kept_as_long_as_others(bed: StoreBed) -> None:
    bed.handler("web")
    web = bed.service_uuid("web")
    bed.store.submit(bed.admin, web, Verb.REDEPLOY, target=None, origin=ORIGIN)
    bed.show("db")
    bed.store.forget(bed.admin, web)
    bed.clock.move(2 * 24 * 3600)
    bed.show("db")
    assert bed.store.actions(bed.admin, query()).total == 1
    while bed.queue.prune(timedelta(days=1), 100):
        pass
    assert "name:web" not in bed.queue.revisions("docker")


def test_one_that_comes_back_while_it_is_pruned_stays_with_its_handlers(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    bed.show()
    bed.store.forget(bed.admin, web)
    bed.show("web")
    handler = bed.handler("web")
    with bed.database.write() as connection:  # as the second half of a prune whose first half was before
        retention.delete(connection, {table: [(web,)]})
    assert web in uuids(bed)
    bed.call(handler)


@pytest.mark.slow
def test_a_call_and_forgetting_at_once_leave_no_action_without_an_end(bed: StoreBed) -> None:
    handler, web = bed.handler("web"), bed.service_uuid("web")
    bed.show("db")
    accepted: list[str] = []

    def call_until_refused() -> None:
        try:
            while True:
                accepted.append(bed.call(handler))
        except NotFoundError:
            pass

    caller = threading.Thread(target=call_until_refused)
    caller.start()
    wait_until(lambda: bool(accepted), "a call is accepted")
    bed.store.forget(bed.admin, web)
    caller.join(120)
    assert not caller.is_alive()
    assert {bed.store.action(bed.admin, uuid).state for uuid in accepted} == {ActionState.CANCELED}


def test_the_routes_forget(bed: StoreBed, replica: Replica) -> None:
    path = make(bed, replica)
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    status, answer = replica.request("POST", f"/api/v1/service/{web}/forget/")
    assert (status, "is not gone" in answer["error"]) == (409, True)
    bed.show()
    status, listed = replica.request("GET", "/api/v1/service/")
    assert {each["gone_since"] for each in listed["objects"]} == {"2026-01-01T00:00:00Z"}
    status, answer = replica.request("POST", "/api/v1/service/web/forget/")
    assert (status, answer["uuid"], answer["state"]) == (200, web, "Terminated")
    assert replica.request("POST", f"{path}call/")[0] == 404
    status, answer = replica.request("DELETE", f"/api/v1/service/{db}/")
    assert (status, answer["uuid"], answer["state"]) == (202, db, "Terminated")
    assert replica.request("GET", "/api/v1/service/")[1]["meta"]["total_count"] == 0


def test_a_member_forgets_by_terminating(bed: StoreBed) -> None:
    ann = bed.store.add_user("ann", is_admin=False)
    bed.show("web", owner="ann")
    web = bed.service_uuid("web")
    bed.show()
    forgotten, action = services.act(bed.store, ann, web, Verb.TERMINATE, ORIGIN)
    assert (forgotten.uuid, action) == (web, None)
