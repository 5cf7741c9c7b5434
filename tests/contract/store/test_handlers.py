"""Handlers in the store: rotated URLs, call counts, deliveries and the progress that callers see."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.support.query_plans import recorded
from tests.support.stores import ORIGIN, StoreBed, call, query
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import Accepted, ActionState, NewHandler, Operation, Query
from tutumd.ports.intake import CallResult


@pytest.mark.dialect
def test_an_old_url_accepts_calls_until_its_grace_ends_and_nothing_else(bed: StoreBed) -> None:
    old = bed.handler("web")
    new = bed.store.rotate_handler(bed.admin, old.service_uuid, old.uuid, bed.clock() + timedelta(seconds=100))
    assert new.uuid != old.uuid
    assert new.rotation is not None
    assert new.rotation.old_called is None
    with pytest.raises(NotFoundError):
        bed.store.handler(bed.admin, old.service_uuid, old.uuid)
    bed.clock.move(99)
    bed.call(old)
    bed.call(new)
    read = bed.store.handler(bed.admin, new.service_uuid, new.uuid)
    assert read.rotation is not None
    assert (read.rotation.old_called, read.rotation.old_address) == (bed.clock(), ORIGIN.address)
    assert read.calls == 2
    bed.clock.move(2)
    with pytest.raises(NotFoundError):
        bed.call(old)
    bed.call(new)
    assert bed.store.handler(bed.admin, new.service_uuid, new.uuid).rotation is None


def test_a_deleted_handler_takes_its_old_url_with_it(bed: StoreBed) -> None:
    old = bed.handler("web")
    new = bed.store.rotate_handler(bed.admin, old.service_uuid, old.uuid, bed.clock() + timedelta(seconds=100))
    bed.store.delete_handler(bed.admin, new.service_uuid, new.uuid)
    with pytest.raises(NotFoundError):
        bed.call(old)


def test_a_form_creates_one_handler_of_a_service_until_that_is_deleted(bed: StoreBed) -> None:
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    new = NewHandler(name="hook", operation=Operation.REDEPLOY)
    before = bed.store.audit(bed.admin).entries
    made, is_new = bed.store.add_handler_once(bed.admin, web, new, "a" * 64)
    assert (made.name, is_new) == ("hook", True)
    assert bed.store.add_handler_once(bed.admin, web, replace(new, name="other"), "a" * 64) == (made, False)
    assert len(bed.store.audit(bed.admin).entries) == len(before) + 1
    for service, form, name in ((web, "b" * 64, "another"), (db, "a" * 64, "hook")):
        other, is_new = bed.store.add_handler_once(bed.admin, service, replace(new, name=name), form)
        assert is_new
        assert other.uuid != made.uuid
    bed.store.delete_handler(bed.admin, web, made.uuid)
    assert bed.store.add_handler_once(bed.admin, web, new, "a" * 64)[1]
    bob = bed.store.add_user("bob", is_admin=False)
    with pytest.raises(NotFoundError):
        bed.store.add_handler_once(bob, web, new, "a" * 64)


def test_forms_refuse_the_name_of_another_handler_of_the_service(bed: StoreBed) -> None:
    web, hook = bed.service_uuid("web"), NewHandler(name="hook", operation=Operation.REDEPLOY)
    made, _ = bed.store.add_handler_once(bed.admin, web, hook, "a" * 64)
    with pytest.raises(ConflictError, match=f"handler {made.number} of this service has the name 'hook'") as refusal:
        bed.store.add_handler_once(bed.admin, web, hook, "b" * 64)
    assert refusal.value.field == "name"
    for name in ("", "", None, None):
        bed.store.add_handler_once(bed.admin, web, replace(hook, name=name), uuid4().hex)
    (twin,) = bed.store.add_handlers(bed.admin, web, [hook])  # clients of 2015 make handlers of one name
    (other,) = bed.store.add_handlers(bed.admin, web, [replace(hook, name="other")])
    with pytest.raises(ConflictError):
        bed.store.change_handler(bed.admin, web, other.uuid, lambda _: hook, keeps_names_apart=True)
    assert bed.store.handler(bed.admin, web, other.uuid).name == "other"
    bed.store.change_handler(bed.admin, web, twin.uuid, lambda _: hook, keeps_names_apart=True)  # the name stays
    bed.store.change_handler(bed.admin, web, other.uuid, lambda _: hook)
    names = [each.name for each in bed.store.handlers(bed.admin, web, Query()).objects]
    assert names.count("hook") == 3


def test_calls_are_counted_and_unused_handlers_listed(bed: StoreBed) -> None:
    used, unused = bed.handler("web"), bed.handler("db")
    bed.call(used)
    first = bed.clock()
    bed.clock.move(120)
    assert not bed.queue.count_calls()
    bed.call(used)
    for _ in range(2):
        read = bed.store.handler(bed.admin, used.service_uuid, used.uuid)
        assert (read.calls, read.last_called) == (2, bed.clock())
        bed.queue.count_calls()
    assert bed.store.handler(bed.admin, unused.service_uuid, unused.uuid).last_called is None
    now_unused = bed.store.unused_handlers(bed.admin, bed.clock(), query()).objects
    assert [handler.uuid for handler in now_unused] == [unused.uuid]
    assert not bed.store.unused_handlers(bed.admin, first - timedelta(days=1), query()).objects
    bed.clock.move(1000)
    bed.queue.count_calls()
    page = bed.store.unused_handlers(bed.admin, bed.clock() - timedelta(seconds=500), query())
    assert {handler.uuid for handler in page.objects} == {used.uuid, unused.uuid}
    assert (page.total, {handler.calls for handler in page.objects}) == (2, {0, 2})
    by_age = bed.store.unused_handlers(bed.admin, bed.clock() - timedelta(seconds=500), query(), by_age=True)
    assert (by_age.total, [handler.uuid for handler in by_age.objects]) == (2, [unused.uuid, used.uuid])


def test_without_a_date_all_handlers_are_listed_also_those_that_are_called_just_now(bed: StoreBed) -> None:
    listed = [bed.handler("web"), bed.handler("db")]
    bed.call(listed[0])
    page = bed.store.unused_handlers(bed.admin, None, query())
    assert {handler.uuid for handler in page.objects} == {handler.uuid for handler in listed}
    assert page.total == 2


def test_the_service_of_many_new_handlers_is_read_once(bed: StoreBed) -> None:
    web, reads = bed.service_uuid("web"), list[int]()
    for number in (1, 20):
        with recorded() as statements:
            bed.store.add_handlers(bed.admin, web, [NewHandler(name="hook", operation=Operation.REDEPLOY)] * number)
        reads.append(sum("FROM services" in sql for sql, _ in statements))
    assert reads[0] == reads[1] > 0


def test_counting_and_calls_never_deadlock(bed: StoreBed) -> None:
    # The numbers of handlers are in order, their UUIDs are not: locks in either order would meet.
    called = [bed.handler(name) for name in ("web", "db") for _ in range(10)]
    stop, errors = threading.Event(), list[Exception]()

    def count() -> None:
        while not stop.is_set():
            bed.clock.move(120)
            try:
                bed.queue.count_calls()
            except Exception as error:  # noqa: BLE001 (the test fails with it)
                errors.append(error)

    counting = threading.Thread(target=count)
    counting.start()
    try:
        for _ in range(60):
            stored: Future[Sequence[CallResult]] = Future()
            bed.intake.store([call(handler) for handler in called], stored.set_result)
            assert all(isinstance(result, Accepted) for result in stored.result(120))
    finally:
        stop.set()
        counting.join(60)
    assert not errors
    bed.clock.move(120)
    bed.queue.count_calls()
    assert {bed.store.handler(bed.admin, handler.service_uuid, handler.uuid).calls for handler in called} == {60}


def test_a_caller_sees_the_progress_of_its_action_also_once_the_handler_is_revoked(bed: StoreBed) -> None:
    handler = bed.handler("web", show_log=True)
    accepted = bed.accepted(handler, bed.evaluate(handler))
    reference = accepted.refer(call(handler))
    progress = bed.store.progress([reference])[reference]
    assert (progress.action.uuid, progress.action.state) == (accepted.action_uuid, ActionState.PENDING)
    assert progress.options == {"show_log": True}
    foreign = bed.accepted(bed.handler("db"))
    assert not bed.store.progress([reference._replace(handler_seq=foreign.handler_seq)])
    bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    revoked = bed.store.progress([reference])[reference]
    assert (revoked.action.uuid, revoked.action.state) == (accepted.action_uuid, ActionState.PENDING)
    assert revoked.options == {}, "its owner allows no log any more"


def test_a_caller_sees_that_the_end_of_the_service_canceled_its_action(bed: StoreBed) -> None:
    handler = bed.handler("web")
    accepted = bed.accepted(handler)
    bed.show("db")
    bed.store.forget(bed.admin, handler.service_uuid)
    reference = accepted.refer(call(handler))
    action = bed.store.progress([reference])[reference].action
    assert (action.state, action.reason) == (ActionState.CANCELED, "the service was forgotten")
