"""The overview: what failed and was not fixed, what runs, what waits and why, what happened, and what is odd."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.stores import ENGINE, ORIGIN, StoreBed, snapshot
from tutumd.model import Access, Action, NewHandler, Operation, Outcome, Requester, User, Verb


def failed(bed: StoreBed, viewer: User | None = None) -> list[str]:
    """Return the names of services whose newest action failed."""
    return [action.service_name for action in bed.store.failed_actions(viewer or bed.admin)]


def waiting(bed: StoreBed) -> list[Action]:
    """Return the actions that wait."""
    return [action for action in bed.store.unfinished_actions(bed.admin, 40) if action.waits_for or action.holds]


def run(bed: StoreBed, name: str, *, success: bool) -> str:
    """Let an action of a service end."""
    uuid = bed.store.submit(bed.admin, bed.service_uuid(name), Verb.START, target=None, origin=ORIGIN).uuid
    bed.finish(bed.claimed(), success=success)
    return uuid


def test_a_service_is_shown_while_its_newest_action_failed(bed: StoreBed) -> None:
    run(bed, "web", success=False)
    second = run(bed, "web", success=False)
    run(bed, "db", success=False)
    assert failed(bed) == ["db", "web"]
    assert bed.store.failed_actions(bed.admin)[1].uuid == second
    run(bed, "web", success=True)
    assert failed(bed) == ["db"]


def test_a_failure_is_shown_until_a_later_action_has_ended_well(bed: StoreBed) -> None:
    run(bed, "web", success=False)
    pending = bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.START, target=None, origin=ORIGIN)
    assert failed(bed) == ["web"]
    bed.store.cancel(bed.admin, pending.uuid)
    assert failed(bed) == ["web"]


def test_an_old_failure_is_no_news(bed: StoreBed) -> None:
    run(bed, "web", success=False)
    bed.clock.move(8 * 86_400)
    assert failed(bed) == []


def test_each_action_that_waits_says_what_for(bed: StoreBed) -> None:
    web, db = bed.handler("web"), bed.handler("db", debounce=60)
    bed.call(web)
    running = bed.claimed()
    bed.call(web)
    bed.accepted(db, bed.evaluate(db, debounce_s=60))
    found = waiting(bed)
    assert bed.store.unfinished_actions(bed.admin)[0].service_name == "web"
    assert list(bed.store.unfinished_actions(bed.admin)[1:]) == found
    assert list(bed.store.unfinished_actions(bed.admin, limit=1)[1:]) == found[:1], "of each state"
    assert [(action.service_name, action.waits_for) for action in found] == [
        ("web", "waiting for the action that runs on its service"),
        ("db", ""),
    ]
    assert [each.reason.code for each in found[1].holds] == ["debounce"]
    assert found[1].held_until == bed.clock() + timedelta(seconds=60)
    bed.finish(running)
    bed.clock.move(61)
    bed.queue.register("worker", [ENGINE])
    assert {action.waits_for for action in waiting(bed)} == {"waiting for its turn on engine 'docker'"}
    bed.queue.register("worker", [replace(ENGINE, error="it does not answer", away=True)])
    assert {action.waits_for for action in waiting(bed)} == {"waiting for the engine: it does not answer"}
    bed.clock.move(3_600)
    assert all("no worker serves engine 'docker'" in action.waits_for for action in waiting(bed))


def test_a_run_that_waits_for_another_try_says_why(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    assert [action.waits_for for action in bed.store.unfinished_actions(bed.admin)] == [""]
    bed.queue.retry_later(claim, delay=timedelta(seconds=9), error="no route to host")
    (action,) = bed.store.unfinished_actions(bed.admin)
    assert action.waits_for == "waiting for another try: no route to host"


def test_a_member_sees_no_failure_of_other_services(bed: StoreBed) -> None:
    member = bed.store.add_user("mia", is_admin=False)
    run(bed, "web", success=False)
    assert (failed(bed), failed(bed, member)) == (["web"], [])


@pytest.mark.dialect
@pytest.mark.parametrize("owned", [1, 4])
def test_the_newest_actions_are_those_that_the_viewer_sees(bed: StoreBed, owned: int) -> None:
    names = [f"s{number}" for number in range(6)]
    mia = bed.store.add_user("mia", is_admin=False)
    bed.sync(*(replace(snapshot(name), owner="mia" if name in names[:owned] else None) for name in names))
    wanted: list[tuple[str, bool]] = []
    for turn in range(3):
        for name in names:
            run(bed, name, success=(success := (turn + len(name)) % 2 == 0))
            wanted.insert(0, (name, success))
    narrow = replace(bed.admin, access=Access(service_uuid=bed.service_uuid("s0")))
    for viewer, seen in ((bed.admin, names), (mia, names[:owned]), (narrow, names[:1])):
        of_viewer = [(name, success) for name, success in wanted if name in seen]
        for failed in (False, True):
            expected = [each for each in of_viewer if not (failed and each[1])][:5]
            found = bed.store.recent_actions(viewer, 5, failed=failed)
            assert [(each.service_name, each.state == "Success") for each in found] == expected, viewer.name


@pytest.mark.dialect
def test_an_action_is_requested_by_users_and_a_handler(bed: StoreBed) -> None:
    ann, bob = (bed.store.add_user(name, is_admin=name == "bob") for name in ("ann", "bob"))
    bed.sync(replace(snapshot("web"), owner="ann"))
    new = NewHandler(name="github", operation=Operation.REDEPLOY)
    (handler,) = bed.store.add_handlers(bed.admin, bed.service_uuid("web"), [new])
    called = bed.call(handler)
    bed.store.submit(bob, bed.service_uuid("web"), Verb.REDEPLOY, target=None, origin=ORIGIN)
    bed.call(bed.handler("web"))
    bed.finish(bed.claimed(), success=False)
    retried = bed.store.retry(ann, called, ORIGIN).uuid
    both = bed.store.requesters(bed.admin, [called, retried])
    call = Requester(is_call=True, handler=handler.number, handler_name="github")
    assert both == {called: replace(call, users=("bob",)), retried: Requester(users=("ann",))}
    assert bed.store.requesters(ann, [called, retried]) == {called: call, retried: Requester(users=("ann",))}
    bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    assert bed.store.requesters(ann, [called])[called] == Requester(is_call=True)
    assert not bed.store.requesters(bed.store.add_user("mia", is_admin=False), [called])


def test_a_narrow_key_sees_no_engine_of_other_services(bed: StoreBed) -> None:
    bed.sync(snapshot("web"))
    bed.queue.register("worker", [ENGINE, replace(ENGINE, name="other")])
    narrow = replace(bed.admin, access=Access(service_uuid=bed.service_uuid("web")))
    for viewer, shown in ((bed.admin, ["docker", "other"]), (narrow, ["docker"])):
        assert [info.name for info in bed.store.engines(viewer)] == shown


def test_a_running_action_leaves_the_warnings_of_its_service_as_they_were(bed: StoreBed) -> None:
    bed.show("web")
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.sync(replace(snapshot("web"), warnings=("the container web-next runs beside web",)))
    service = bed.store.service(bed.admin, claim.service.uuid)
    assert service.warnings == (), "a redeploy runs containers beside each other"
    bed.queue.finish(claim, Outcome(success=False), replace(snapshot("web"), warnings=("odd",)))
    assert bed.store.service(bed.admin, service.uuid).warnings == ("odd",)
