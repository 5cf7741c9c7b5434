"""Stamps: they change with what a page shows, and only then."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.stores import ENGINE, LEASE, ORIGIN, StoreBed, query, snapshot
from tutumd.model import ActionState, NewHandler, Outcome, Verb

Read = Callable[[], object]


@pytest.fixture
def service(bed: StoreBed) -> Read:
    uuid = bed.service_uuid("web")
    return lambda: bed.store.service_stamps([uuid])[uuid]


def changes(read: Read, act: Callable[[], object]) -> bool:
    """Return whether an act changes a stamp, which otherwise stays as it is."""
    before = read()
    assert read() == before
    act()
    return read() != before


def test_unknown_objects_have_no_stamp(bed: StoreBed) -> None:
    assert bed.store.service_stamps(["nothing"]) == {}
    assert bed.store.action_stamps([]) == {}
    assert bed.store.handler_stamps([12345]) == {}


def test_stamps_of_many_are_those_of_each(bed: StoreBed) -> None:
    uuids = [bed.service_uuid("web"), bed.service_uuid("db")]
    bed.call(bed.handler("web"))
    together = bed.store.service_stamps(uuids)
    assert together == {**bed.store.service_stamps(uuids[:1]), **bed.store.service_stamps(uuids[1:])}
    assert len(set(together.values())) == 2


def test_the_stamp_of_a_service_changes_with_each_step_of_its_action(bed: StoreBed, service: Read) -> None:
    handler = bed.handler("web")
    assert changes(service, lambda: bed.call(handler))
    assert changes(service, bed.claimed)
    uuid = bed.store.service_list(bed.admin, search="web").services[0].last_action
    assert uuid is not None
    assert changes(service, lambda: bed.store.cancel(bed.admin, uuid.uuid))
    bed.clock.move(11)
    claim = bed.claimed()
    assert changes(service, lambda: bed.queue.retry_later(claim, delay=timedelta(0), reason="try again"))
    claim = bed.claimed()
    assert changes(service, lambda: bed.finish(claim))


def test_the_stamp_of_a_service_changes_with_what_its_engine_shows(bed: StoreBed, service: Read) -> None:
    assert changes(service, lambda: bed.show("web", "db", containers=3))
    assert changes(service, lambda: bed.sync(replace(snapshot("web", containers=3), warnings=("odd",)), snapshot("db")))
    assert changes(service, lambda: bed.show("db"))
    assert changes(service, lambda: bed.show("web", "db"))
    assert changes(service, lambda: bed.queue.register("worker", [replace(ENGINE, error="gone", away=True)]))
    assert not changes(service, lambda: bed.queue.register("worker", [replace(ENGINE, error="gone", away=True)]))
    assert changes(service, lambda: bed.clock.move(3_600))


def test_the_stamp_of_a_service_changes_with_its_handlers(bed: StoreBed, service: Read) -> None:
    assert changes(service, lambda: bed.handler("web"))
    handler = bed.handler("web", allowed_ips=["127.0.0.1"])
    renamed = NewHandler(name="new", options=handler.options)
    assert changes(
        service, lambda: bed.store.change_handler(bed.admin, handler.service_uuid, handler.uuid, lambda _: renamed)
    )
    until = bed.clock() + timedelta(days=1)
    assert changes(service, lambda: bed.store.rotate_handler(bed.admin, handler.service_uuid, handler.uuid, until))
    (newest,) = (each for each in bed.store.handlers(bed.admin, handler.service_uuid, query()).objects if each.name)
    assert changes(service, lambda: bed.store.delete_handler(bed.admin, newest.service_uuid, newest.uuid))


def test_the_stamp_of_a_service_changes_with_calls_that_join_or_are_skipped(bed: StoreBed, service: Read) -> None:
    plain, filtered = bed.handler("web"), bed.handler("web", allowed_ips=["127.0.0.1"])
    evaluation = bed.evaluate(filtered, skip="another branch")
    bed.call(plain)

    assert changes(service, lambda: bed.call(plain))
    assert changes(service, lambda: bed.send(filtered, evaluation))
    bed.count_deliveries()
    bed.queue.register("worker", [ENGINE])
    assert changes(service, lambda: bed.call(plain))
    assert not changes(service, lambda: bed.call(bed.handler("db")))


def test_the_stamp_of_an_action_changes_with_each_step_and_call(bed: StoreBed) -> None:
    handler = bed.handler("web")
    uuid = bed.call(handler)

    def text() -> str:
        return bed.store.action_stamps([uuid])[uuid].text

    assert changes(text, lambda: bed.call(handler))
    assert changes(text, bed.claimed)
    assert not changes(text, lambda: bed.handler("web"))
    assert changes(text, lambda: bed.store.cancel(bed.admin, uuid))
    bed.clock.move(11)
    claim = bed.claimed()
    assert changes(text, lambda: bed.queue.register("worker", [replace(ENGINE, error="gone", away=True)]))
    assert changes(text, lambda: bed.queue.finish(claim, Outcome(success=False, reason="no"), None))
    assert not changes(text, lambda: bed.queue.register("worker", [ENGINE]))
    assert bed.store.action(bed.admin, uuid).state is ActionState.FAILED


def test_the_stamp_of_an_action_numbers_its_newest_line(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    claim = bed.claimed()
    assert bed.store.action_stamps([uuid])[uuid].newest_line == 0
    bed.queue.add_log_line(claim, "pulled")
    before = bed.store.action_stamps([uuid])[uuid]
    bed.queue.add_log_line(claim, "created")
    after = bed.store.action_stamps([uuid])[uuid]
    assert after.text == before.text
    assert [line.number for line in bed.store.log_lines(bed.admin, uuid, before.newest_line)] == [after.newest_line]


def test_the_stamp_of_an_action_that_waits_changes_with_the_one_before(bed: StoreBed) -> None:
    handler = bed.handler("web")
    bed.call(handler)
    claim = bed.claimed()
    uuid = bed.call(handler)
    assert changes(lambda: bed.store.action_stamps([uuid]), lambda: bed.finish(claim))


def test_stamps_change_when_a_debounce_is_over(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=60)
    uuid = bed.accepted(handler, bed.evaluate(handler, debounce_s=60)).action_uuid
    for read in (
        lambda: bed.store.action_stamps([uuid]),
        lambda: bed.store.service_stamps([handler.service_uuid]),
        bed.store.live_stamp,
    ):
        bed.queue.register("worker", [ENGINE])
        assert changes(read, lambda: bed.clock.move(61))
        bed.clock.move(-61)


def test_the_stamp_of_a_handler_changes_with_each_call(bed: StoreBed) -> None:
    handler, other = bed.handler("web", allowed_ips=["127.0.0.1"]), bed.handler("db")
    accepted = bed.evaluate(handler)
    skipped = replace(accepted, skip="another branch")

    def stamp() -> str:
        return bed.store.handler_stamps([handler.number, other.number])[handler.number]

    assert changes(stamp, lambda: bed.send(handler, skipped))
    assert changes(stamp, lambda: bed.send(handler, accepted))
    assert changes(stamp, lambda: bed.send(handler, accepted))
    assert changes(stamp, lambda: bed.send(handler, skipped))
    assert not changes(stamp, lambda: bed.call(other))


def test_the_live_stamp_changes_with_what_runs_waits_or_is_away(bed: StoreBed) -> None:
    stamp = bed.store.live_stamp
    handler = bed.handler("web")
    assert changes(stamp, lambda: bed.call(handler))
    assert not changes(stamp, lambda: bed.call(handler))
    assert changes(stamp, bed.claimed)
    assert not changes(stamp, lambda: bed.clock.move(1))
    submitted = bed.store.submit(bed.admin, bed.service_uuid("db"), Verb.STOP, target=None, origin=ORIGIN)
    assert changes(stamp, lambda: bed.store.cancel(bed.admin, submitted.uuid))
    bed.clock.move(LEASE.total_seconds())
    claim = bed.claimed()
    assert changes(stamp, lambda: bed.queue.retry_later(claim, delay=timedelta(0), reason="try again"))
    claim = bed.claimed()
    assert changes(stamp, lambda: bed.finish(claim))
    assert changes(stamp, lambda: bed.queue.register("worker", [replace(ENGINE, error="gone", away=True)]))
    assert changes(stamp, lambda: bed.show("web", "db", containers=1))
    assert changes(stamp, lambda: bed.show("web"))
