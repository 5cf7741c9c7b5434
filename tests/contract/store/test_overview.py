"""The overview: what failed and is not mended, what runs, what waits and why, and what is odd."""

from dataclasses import replace
from datetime import timedelta

from tests.support.stores import ENGINE, ORIGIN, StoreBed, snapshot
from tutumd.model import Access, Action, HandlerName, Outcome, Overview, ServiceState, User, Verb


def overview(bed: StoreBed, viewer: User | None = None) -> Overview:
    return bed.store.overview(viewer or bed.admin, unused_before=bed.clock() - timedelta(days=30))


def names(found: tuple[Action, ...]) -> list[str]:
    return [action.service_name for action in found]


def run(bed: StoreBed, name: str, *, success: bool) -> str:
    """Let an action of a service end."""
    uuid = bed.store.submit(bed.admin, bed.service_uuid(name), Verb.START, target=None, origin=ORIGIN).uuid
    bed.finish(bed.claimed(), success=success)
    return uuid


def test_a_service_is_shown_while_its_newest_action_failed(bed: StoreBed) -> None:
    run(bed, "web", success=False)
    second = run(bed, "web", success=False)
    run(bed, "db", success=False)
    assert names(overview(bed).failed) == ["db", "web"]
    assert overview(bed).failed[1].uuid == second
    run(bed, "web", success=True)
    assert names(overview(bed).failed) == ["db"]


def test_a_failure_is_shown_until_a_later_action_has_ended_well(bed: StoreBed) -> None:
    run(bed, "web", success=False)
    pending = bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.START, target=None, origin=ORIGIN)
    assert names(overview(bed).failed) == ["web"]
    bed.store.cancel(bed.admin, pending.uuid)
    assert names(overview(bed).failed) == ["web"]


def test_an_old_failure_is_no_news(bed: StoreBed) -> None:
    run(bed, "web", success=False)
    bed.clock.move(8 * 86_400)
    assert overview(bed).failed == ()


def test_each_action_that_waits_says_what_for(bed: StoreBed) -> None:
    web, db = bed.handler("web"), bed.handler("db", debounce=60)
    bed.call(web)
    running = bed.claimed()
    bed.call(web)
    bed.accepted(db, bed.evaluate(db, debounce_s=60))
    found = overview(bed)
    assert names(found.running) == ["web"]
    assert bed.store.unfinished_actions(bed.admin) == (*found.running, *found.waiting)
    assert bed.store.unfinished_actions(bed.admin, limit=2) == (*found.running, found.waiting[0])
    assert [(action.service_name, action.waits_for) for action in found.waiting] == [
        ("web", "waiting for the action that runs on its service"),
        ("db", "waiting for more calls: the debounce of a handler is not over"),
    ]
    assert found.waiting[1].held_until == bed.clock() + timedelta(seconds=60)
    bed.finish(running)
    bed.clock.move(61)
    bed.queue.register("worker", [ENGINE])
    assert {action.waits_for for action in overview(bed).waiting} == {"waiting for its turn on engine 'docker'"}
    bed.queue.register("worker", [replace(ENGINE, error="it does not answer", away=True)])
    assert {action.waits_for for action in overview(bed).waiting} == {"waiting for the engine: it does not answer"}
    bed.clock.move(3_600)
    assert all("no worker serves engine 'docker'" in action.waits_for for action in overview(bed).waiting)


def test_a_run_that_waits_for_another_try_says_why(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    assert [action.waits_for for action in bed.store.unfinished_actions(bed.admin)] == [""]
    bed.queue.retry_later(claim, delay=timedelta(seconds=9), reason="waiting for another try: no route to host")
    (action,) = bed.store.unfinished_actions(bed.admin)
    assert action.waits_for == "waiting for another try: no route to host"


def test_it_counts_services_and_shows_those_with_warnings(bed: StoreBed) -> None:
    bed.sync(replace(snapshot("web"), warnings=("an autoscaler sets its target", "another")), snapshot("api"))
    found = overview(bed)
    assert (found.counts.states, found.counts.gone) == ({ServiceState.RUNNING: 2}, 1)
    assert found.warnings == 1
    assert [each.service.full_name for each in found.warned] == ["web"]
    assert [info.name for info in found.engines] == ["docker"]


def test_it_tells_an_empty_installation_from_one_that_was_called(bed: StoreBed) -> None:
    assert (overview(bed).has_handlers, overview(bed).has_calls) == (False, False)
    handler = bed.handler("web")
    assert (overview(bed).has_handlers, overview(bed).has_calls) == (True, False)
    bed.call(handler)
    assert overview(bed).has_calls
    bed.count_deliveries()
    assert overview(bed).has_calls


def test_it_counts_handlers_that_nobody_calls(bed: StoreBed) -> None:
    used = bed.handler("web")
    unused = bed.handler("web")
    assert overview(bed).unused_handlers == 0
    bed.clock.move(31 * 86_400)
    assert [each.number for each in overview(bed).unused] == [used.number, unused.number]
    assert overview(bed).unused_handlers == 2
    bed.call(used)
    bed.count_deliveries()
    found = overview(bed)
    assert found.unused_handlers == 1
    assert found.unused == (HandlerName(number=unused.number, service_uuid=unused.service_uuid, name=unused.name),)


def test_a_member_sees_nothing_of_other_services(bed: StoreBed) -> None:
    member = bed.store.add_user("mia", is_admin=False)
    bed.sync(replace(snapshot("web"), warnings=("odd",)), snapshot("db"), snapshot("hers", owner="mia"))
    run(bed, "web", success=False)
    bed.call(bed.handler("web"))
    bed.call(bed.handler("db"))
    bed.claimed()
    found = overview(bed, member)
    assert (found.failed, found.running, found.waiting, found.warned) == ((), (), (), ())
    assert (found.warnings, found.unused_handlers) == (0, 0)
    assert (found.has_handlers, found.has_calls) == (False, False)
    assert found.counts.states == {ServiceState.RUNNING: 1}


def test_a_narrow_key_sees_no_engine_of_other_services(bed: StoreBed) -> None:
    bed.sync(snapshot("web"))
    bed.queue.register("worker", [ENGINE, replace(ENGINE, name="other")])
    narrow = replace(bed.admin, access=Access(service_uuid=bed.service_uuid("web")))
    for viewer, shown in ((bed.admin, ["docker", "other"]), (narrow, ["docker"])):
        assert [info.name for info in overview(bed, viewer).engines] == shown


def test_a_running_action_leaves_the_warnings_of_its_service_as_they_were(bed: StoreBed) -> None:
    bed.show("web")
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.sync(replace(snapshot("web"), warnings=("the container web-next runs beside web",)))
    service = bed.store.service(bed.admin, claim.service.uuid)
    assert service.warnings == (), "a redeploy runs containers beside each other"
    bed.queue.finish(claim, Outcome(success=False), replace(snapshot("web"), warnings=("odd",)))
    assert bed.store.service(bed.admin, service.uuid).warnings == ("odd",)
