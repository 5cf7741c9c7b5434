"""What is queued for whom, in the transaction that ends or starts an action."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.contract.store.test_notifier_queue import SENT, add, claim, fail, stored
from tests.support.query_plans import count_rows, count_steps, recorded
from tests.support.stores import ENGINE, ORIGIN, StoreBed, query, snapshot
from tutumd.model import Outcome, User, Verb
from tutumd.model.notifications import (
    CHOSEN_EVENTS,
    Event,
    Notification,
)
from tutumd.store.objects import notifications as objects
from tutumd.store.queue import outbox
from tutumd.store.queue.notifier_queue import SqlNotificationQueue
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.notifications import targets
from tutumd.store.tables.schema import new_uuid

ALL = tuple(CHOSEN_EVENTS)
ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # several transactions write


def end(bed: StoreBed, service: str = "web", **outcome: Any) -> str:
    """Let a redeploy end, and return the action's UUID."""
    bed.call(bed.handler(service))
    claimed = bed.claimed()
    bed.queue.finish(claimed, Outcome(**{"success": False, "reason_code": "exited", **outcome}), None)
    return claimed.action.uuid


def events(bed: StoreBed, user: User | None = None, **filters: str) -> list[str]:
    """Return the events of the stored notifications, oldest first."""
    return [each.event.value for each in reversed(stored(bed, user, **filters))]


def send_all(bed: StoreBed) -> list[Notification]:
    """Send all notifications, and return them as they were sent, for each target in order."""
    queue, sent = SqlNotificationQueue(bed.database, bed.clock, Wakeup()), []
    while claims := claim(queue):
        for claimed in claims:
            queue.finish_notification(claimed, SENT, None)
            sent.append(claimed.notification)
    return sent


def suppressed(bed: StoreBed) -> list[int]:
    return [each.payload["data"]["suppressed"] for each in reversed(stored(bed))]


def cancel_pending(bed: StoreBed) -> None:
    bed.store.cancel(bed.admin, bed.call(bed.handler("web")))


def cancel_running(bed: StoreBed) -> None:
    end(bed, canceled=True)


def abandon(bed: StoreBed) -> None:
    action = bed.call(bed.handler("web"))
    bed.claimed()
    bed.store.abandon(bed.admin, action)


def forget(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    bed.show("db")
    bed.store.forget(bed.admin, bed.service_uuid("web"))


def terminate(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    bed.store.submit(bed.admin, web, Verb.TERMINATE, target=None, origin=ORIGIN)
    bed.store.submit(bed.admin, web, Verb.START, target=None, origin=ORIGIN)
    bed.queue.finish(bed.claimed(), Outcome(success=True), None)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda bed: end(bed), ["action.failed exited"]),
        (lambda bed: end(bed, success=True), ["action.succeeded "]),
        (cancel_running, ["action.canceled canceled"]),
        (cancel_pending, ["action.canceled canceled"]),
        (abandon, ["action.failed abandoned"]),
        (forget, ["action.canceled canceled"]),
        (terminate, ["action.canceled canceled", "action.succeeded "]),
    ],
    ids=["failed", "succeeded", "canceled", "canceled pending", "abandoned", "forgotten", "terminated"],
)
def test_each_end_is_told(bed: StoreBed, act: Callable[[StoreBed], object], expected: list[str]) -> None:
    add(bed, events=ALL)
    act(bed)
    told = [f"{each.event} {each.payload['data']['reason']['code']}" for each in send_all(bed)]
    assert told == expected


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ((Event.ACTION_RECOVERED,), ["action.recovered"]),
        ((Event.ACTION_SUCCEEDED,), ["action.succeeded"] * 2),
        ((Event.ACTION_SUCCEEDED, Event.ACTION_RECOVERED), ["action.recovered", "action.succeeded"]),
        ((Event.ACTION_CANCELED,), ["action.canceled"]),
        ((Event.ENGINE_UP,), []),
    ],
)
def test_a_recovery_is_the_first_success_after_a_failure(
    bed: StoreBed, chosen: tuple[Event, ...], expected: list[str]
) -> None:
    add(bed, events=chosen)
    end(bed)
    end(bed, canceled=True)
    bed.clock.move(-60)
    end(bed, success=True)
    end(bed, success=True)
    assert events(bed) == expected


@pytest.mark.parametrize("is_admin", [True, False])
def test_the_scope_and_the_rights_of_the_owner_decide(bed: StoreBed, is_admin: bool) -> None:
    ann = bed.store.add_user("ann", is_admin=is_admin)
    web, db = replace(snapshot("web", owner="ann"), stack="shop"), snapshot("db", owner="ann")
    bed.sync(web, db)
    add(bed, "all", ann)
    add(bed, "web", ann, service_uuid=bed.service_uuid("web"))
    add(bed, "shop", ann, stack="shop")
    add(bed, "off", ann, enabled=False)
    bed.sync(web, replace(db, owner="bob"))
    fail(bed, "web")
    assert {each.target_name for each in stored(bed, ann)} == {"all", "web", "shop"}
    fail(bed, "db")
    of_db = {each.target_name for each in stored(bed, ann) if each.service_uuid == bed.service_uuid("db")}
    assert of_db == ({"all"} if is_admin else set())
    assert not stored(bed)


def test_equal_failures_are_told_once_in_the_time_to_repeat(bed: StoreBed) -> None:
    add(bed, events=ALL, repeat_s=3600)
    add(bed, "each", events=(Event.ACTION_FAILED,), repeat_s=0)
    end(bed)
    for _ in range(3):
        end(bed)
    end(bed, reason_code="unhealthy")
    end(bed, "db")
    bed.clock.move(3599)
    end(bed)
    bed.clock.move(1)
    end(bed)
    end(bed, success=True)
    end(bed)
    oncall, each = (bed.store.targets(bed.admin, query(name=name)).objects[0].uuid for name in ("oncall", "each"))
    of_oncall = [one for one in send_all(bed) if one.target_uuid == oncall]
    told = [(one.event, one.payload["data"]["suppressed"]) for one in of_oncall]
    failed, recovered = Event.ACTION_FAILED, Event.ACTION_RECOVERED
    assert told == [(failed, 0), (failed, 0), (failed, 0), (failed, 4), (recovered, 0), (failed, 0)]
    assert len(stored(bed, target=each)) == 9
    bed.clock.move(-1800)
    end(bed)
    assert len(stored(bed, target=oncall)) == 6


def test_a_service_that_fails_200_times_in_an_hour_is_told_twice_at_most(bed: StoreBed) -> None:
    add(bed, repeat_s=3600)
    handler = bed.handler("web")
    for _ in range(200):
        bed.call(handler)
        bed.finish(bed.claimed(), success=False)
        bed.clock.move(18)
    assert len(stored(bed)) <= 2


def test_a_notification_whose_action_was_deleted_is_dead(bed: StoreBed) -> None:
    add(bed)
    end(bed)
    with bed.database.write() as connection:
        connection.execute(sa.text("DELETE FROM actions"))
    assert send_all(bed) == []
    assert [(each.state, each.service_name) for each in stored(bed)] == [("dead", "web")]
    with bed.database.read() as connection:
        assert connection.execute(sa.text("SELECT state, number FROM notification_totals")).all() == [("dead", 1)]


def test_a_target_is_deleted_in_several_transactions(bed: StoreBed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_DELETED_AT_ONCE", 2)
    target = add(bed)
    for _ in range(5):
        fail(bed)
    begun: list[object] = []
    sa.event.listen(bed.database._engine, "begin", begun.append)
    bed.store.delete_target(bed.admin, target.uuid)
    assert len(begun) == 3
    assert bed.store.targets(bed.admin, query()).total == 0


def report(bed: StoreBed, worker: str = "worker", *, away: bool) -> None:
    bed.queue.register(worker, [replace(ENGINE, away=away, error="refused" if away else "")])


def test_an_engine_that_is_lost_and_regained_is_told_once_to_admins(bed: StoreBed) -> None:
    ann = bed.store.add_user("ann", is_admin=False)
    add(bed, "of ann", ann, events=ALL)
    bed.queue.sync(replace(ENGINE, name="far"), [replace(snapshot("far"), stack="far")], revisions={})
    add(bed, "elsewhere", events=ALL, stack="far")
    add(bed, events=ALL, repeat_s=3600)
    for away in (False, True, True):
        report(bed, away=away)
        report(bed, "other", away=away)
    assert events(bed) == ["engine.down"]
    assert stored(bed)[0].payload["data"]["reason"] == {"code": "engine-unavailable", "text": "refused"}
    for away in (False, False, True, False, True):  # it flaps
        report(bed, away=away)
    assert events(bed) == ["engine.down", "engine.up"]
    bed.clock.move(3600)
    report(bed, away=True)  # and is still away
    report(bed, away=True)
    assert events(bed)[2:] == ["engine.down"]
    assert suppressed(bed)[2] == 2
    bed.queue.take_over()  # a restart
    report(bed, away=True)
    report(bed, away=False)
    assert events(bed)[3:] == ["engine.up"]
    assert not stored(bed, ann)


def test_the_oldest_pending_beyond_the_maximum_are_dead(bed: StoreBed, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (outbox, objects):
        monkeypatch.setattr(module, "MAX_PENDING", 12)
    monkeypatch.setattr(outbox, "_BLOCK", 5)
    queue = SqlNotificationQueue(bed.database, bed.clock, Wakeup())
    target = add(bed)
    fail(bed)
    claim(queue)
    most = 0
    for _ in range(30):
        fail(bed)
        most = max(most, bed.store.target(bed.admin, target.uuid).pending)
    assert 8 <= most <= 12
    dead = stored(bed, state="dead")
    assert {each.error for each in dead} == {outbox.OVERFLOW}
    assert [each.number for each in dead] == sorted((each.number for each in dead), reverse=True)
    assert stored(bed)[-1].state == "pending"  # it is being sent
    assert bed.store.target(bed.admin, target.uuid).enabled
    assert bed.store.retry_dead(bed.admin, target.uuid) <= 12


@pytest.mark.dialect
def test_a_target_that_is_being_deleted_delays_no_end(bed: StoreBed) -> None:
    target = add(bed)
    bed.call(bed.handler("web"))
    claimed = bed.claimed()
    if bed.database.dialect.single_writer:
        bed.store.delete_target(bed.admin, target.uuid)
        bed.queue.finish(claimed, Outcome(success=False), None)
    else:
        with bed.database.write() as connection:
            connection.execute(sa.text("DELETE FROM notification_targets"))
            bed.queue.finish(claimed, Outcome(success=False), None)
    assert not stored(bed)


@ON_POSTGRES
@pytest.mark.dialect
def test_a_target_that_is_being_renamed_is_told(bed: StoreBed) -> None:
    add(bed)
    bed.call(bed.handler("web"))
    claimed = bed.claimed()
    with bed.database.write() as connection:
        connection.execute(sa.text("UPDATE notification_targets SET name = 'other'"))
        bed.queue.finish(claimed, Outcome(success=False), None)
    assert events(bed) == ["action.failed"]


@pytest.mark.dialect
def test_targets_of_other_users_cost_an_end_nothing(bed: StoreBed) -> None:
    add(bed)
    users = [bed.store.add_user(f"user{number}", is_admin=False).uuid for number in range(50)]
    with bed.database.write() as connection:
        columns = {**connection.execute(sa.select(targets)).one()._mapping}
        del columns["seq"]
        others = [{**columns, "uuid": new_uuid(), "user_uuid": users[number % 50]} for number in range(2500)]
        connection.execute(sa.insert(targets), others)
    with recorded() as statements:
        end(bed)
    counts = [
        (count_steps if bed.database.dialect.single_writer else count_rows)(bed, sql, parameters)
        for sql, parameters in statements
        if "FROM notification_targets" in sql and "JOIN actions" in sql
    ]
    assert counts and sum(counts) < 20_000


def test_without_targets_an_end_costs_one_query_and_a_start_none(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    with recorded() as at_start:
        claimed = bed.claimed()
    with recorded() as at_end:
        bed.finish(claimed)
    assert [sum("notification" in sql.partition("WHERE")[0] for sql, _ in each) for each in (at_start, at_end)] == [
        0,
        1,
    ]
    assert not [sql for sql, _ in at_start if sql.startswith("SELECT notif")]


def test_two_users_learn_nothing_of_each_other(bed: StoreBed) -> None:
    ann, bob = (bed.store.add_user(name, is_admin=name == "ann") for name in ("ann", "bob"))
    target = add(bed, "oncall", ann)
    add(bed, "oncall", bob)  # no conflict
    fail(bed)
    (notification,) = stored(bed, ann)
    for act in (
        lambda: bed.store.target(bob, target.uuid),
        lambda: bed.store.change_target(bob, target.uuid, lambda found: found),
        lambda: bed.store.delete_target(bob, target.uuid),
        lambda: bed.store.queue_test(bob, target.uuid),
        lambda: bed.store.retry_notification(bob, notification.uuid),
        lambda: bed.store.retry_dead(bob, target.uuid),
    ):
        with pytest.raises(Exception, match="there is no such object, or it is not yours"):
            act()
    assert bed.store.targets(bob, query()).total == 1
    assert bed.store.notifications(bob, query()).total == 0
    bed.store.remove_user("ann")
    assert bed.store.targets(bed.admin, query()).total == 0
    with bed.database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM notifications")) == 0
