"""The queue of the notifier: claims, leases and results."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.support.stores import LEASE, StoreBed, at_once, query
from tutumd.model import AuditEvent, Outcome, User
from tutumd.model.notifications import (
    ClaimedNotification,
    Event,
    NewTarget,
    Notification,
    NotificationState,
    SendResult,
    Target,
    TargetKind,
)
from tutumd.store.objects.figures import SqlFigures
from tutumd.store.queue.notifier_queue import MAX_DEATHS, MAX_FAILING, PAUSE, SqlNotificationQueue
from tutumd.store.queue.outbox import PATIENCE
from tutumd.store.sql.wakeup import Wakeup

SENT, FAILED = SendResult(sent=True, status=204), SendResult(sent=False, status=500, error="500 Server Error")
GONE = SendResult(sent=False, status=410, error="410 Gone", is_gone=True)
WEBHOOK = NewTarget(
    name="oncall",
    kind=TargetKind.WEBHOOK,
    settings={"url": "https://example.com/"},
    events=(Event.ACTION_FAILED,),
    repeat_s=0,
)


@pytest.fixture
def queue(bed: StoreBed) -> SqlNotificationQueue:
    return SqlNotificationQueue(bed.database, bed.clock, Wakeup())


def add(bed: StoreBed, name: str = "oncall", user: User | None = None, **values: object) -> Target:
    new = replace(WEBHOOK, name=name, **values)  # type: ignore[arg-type] # any field
    return bed.store.add_target(user or bed.admin, new)


def fail(bed: StoreBed, service: str = "web") -> str:
    """Let an action of a service fail, and return its UUID."""
    bed.call(bed.handler(service))
    claim = bed.claimed()
    bed.queue.finish(claim, Outcome(success=False, reason="it failed"), None)
    return claim.action.uuid


def claim(queue: SqlNotificationQueue, limit: int = 8, notifier: str = "one") -> Sequence[ClaimedNotification]:
    return queue.claim_notifications(notifier, limit, LEASE)


def stored(bed: StoreBed, user: User | None = None, **filters: str) -> tuple[Notification, ...]:
    return bed.store.notifications(user or bed.admin, query(**filters)).objects


def states(bed: StoreBed, user: User | None = None) -> list[NotificationState]:
    return [each.state for each in stored(bed, user)]


def test_a_notification_is_claimed_once_and_sent(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    add(bed)
    action = fail(bed)
    assert queue.next_due() == bed.clock()
    (first,) = claim(queue)
    assert (first.notification.event, first.notification.action_uuid) == (Event.ACTION_FAILED, action)
    assert first.target.settings == {"url": "https://example.com/"}
    assert (first.target.owner, first.target.owner_is_admin) == ("admin", True)
    assert not claim(queue, notifier="two")
    queue.finish_notification(first, SENT, None)
    (sent,) = stored(bed)
    assert (sent.state, sent.attempts, sent.last_status, sent.ended) == (NotificationState.SENT, 1, 204, bed.clock())
    assert queue.next_due() is None


@pytest.mark.dialect
def test_four_notifiers_at_once_hold_no_notification_twice(bed: StoreBed) -> None:
    for number in range(6):
        add(bed, f"target {number}")
    fail(bed)
    fail(bed)
    held = at_once(
        bed, lambda _, number: claim(SqlNotificationQueue(bed.database, bed.clock, Wakeup()), 4, f"notifier {number}")
    )
    names = [each.target.name for claims in held if isinstance(claims, list) for each in claims]
    assert len(names) == len(set(names))
    assert names


def test_a_lost_lease_is_claimed_again_with_the_same_id(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    add(bed)
    fail(bed)
    (lost,) = claim(queue)
    assert queue.next_due() == bed.clock() + LEASE
    bed.clock.move(LEASE.total_seconds())
    (again,) = claim(queue, notifier="two")
    assert again.notification.uuid == lost.notification.uuid
    queue.finish_notification(lost, FAILED, None)
    assert states(bed) == [NotificationState.PENDING]
    bed.queue.take_over()  # the server was started again
    claim(queue, notifier="three")
    queue.take_over("two")
    assert not claim(queue)
    queue.take_over("three")
    (third,) = claim(queue, notifier="three")
    queue.finish_notification(third, SENT, None)
    assert states(bed) == [NotificationState.SENT]


def test_a_waiting_retry_blocks_nothing_and_others_take_turns(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    add(bed, "a")
    add(bed, "b")
    first, second = fail(bed), fail(bed)
    (of_a,) = claim(queue, 1)
    assert (of_a.target.name, of_a.notification.action_uuid) == ("a", first)
    (of_b,) = claim(queue, 8)  # one of each target at a time
    assert (of_b.target.name, of_b.notification.action_uuid) == ("b", first)
    in_5_minutes = bed.clock() + timedelta(minutes=5)
    queue.finish_notification(of_a, FAILED, in_5_minutes)
    queue.finish_notification(of_b, SENT, None)
    (next_of_b, next_of_a) = sorted(claim(queue), key=lambda each: each.target.name, reverse=True)
    assert {each.notification.action_uuid for each in (next_of_a, next_of_b)} == {second}
    queue.finish_notification(next_of_a, SENT, None)
    queue.finish_notification(next_of_b, SENT, None)
    assert not claim(queue)
    assert queue.next_due() == in_5_minutes
    bed.clock.move(300)
    (again,) = claim(queue)
    assert (again.notification.attempts, again.notification.error) == (1, "500 Server Error")


def test_failing_targets_leave_room_for_others(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    for number in range(MAX_FAILING + 2):
        add(bed, f"dead {number}")
    fail(bed)
    for each in claim(queue):
        queue.finish_notification(each, FAILED, None)
    add(bed, "alive")
    fail(bed)
    names = [each.target.name for each in claim(queue)]
    assert len(names) == MAX_FAILING + 1
    assert "alive" in names
    assert not claim(queue)
    assert claim(queue, notifier="two")


def test_a_target_that_fails_again_and_again_is_tried_once_per_second(
    bed: StoreBed, queue: SqlNotificationQueue
) -> None:
    add(bed)
    figures = SqlFigures(bed.database, bed.clock, Wakeup())
    for _ in range(PATIENCE + 10):
        fail(bed)
        for each in claim(queue):
            queue.finish_notification(each, FAILED, bed.clock() + timedelta(hours=1))
    assert queue.next_due() == bed.clock() + PAUSE
    assert sum(each.attempts for each in stored(bed)) == PATIENCE
    tried: list[ClaimedNotification] = []
    for _ in range(4):
        bed.clock.move(1.1)
        tried += claim(queue)
        assert not claim(queue)
        queue.finish_notification(tried[-1], FAILED, bed.clock() + timedelta(hours=1))
    assert len({each.notification.uuid for each in tried}) == 4
    bed.clock.move(50)
    assert figures.notification_delay_s() == 0
    bed.clock.move(20)
    assert figures.notification_delay_s() > 60
    (works,) = claim(queue)
    queue.finish_notification(works, SENT, None)
    assert claim(queue)


@pytest.mark.parametrize(("result", "rounds"), [(GONE, 1), (FAILED, MAX_DEATHS)])
def test_a_target_that_cannot_be_reached_is_disabled_and_the_others_are_told(
    bed: StoreBed, queue: SqlNotificationQueue, result: SendResult, rounds: int
) -> None:
    member = bed.store.add_user("bob", is_admin=False)
    broken = add(bed, "broken")
    add(bed, "other", events=(Event.TARGET_DISABLED,))
    add(bed, "silent", events=(Event.ENGINE_UP,))
    add(bed, "of bob", member, events=(Event.TARGET_DISABLED,))
    for done in range(rounds):
        assert bed.store.target(bed.admin, broken.uuid).enabled, done
        fail(bed)
        bed.clock.move(2)
        (claimed,) = claim(queue)
        queue.finish_notification(claimed, result, None)
    disabled = bed.store.target(bed.admin, broken.uuid)
    assert not disabled.enabled
    assert result.error in disabled.disabled_reason
    assert disabled.dead == rounds
    assert bed.store.audit(bed.admin).entries[0].what == AuditEvent.TARGET_DISABLED
    (told,) = claim(queue)
    assert (told.target.name, told.notification.event) == ("other", Event.TARGET_DISABLED)
    assert told.notification.payload["data"]["target"]["name"] == "broken"
    assert not stored(bed, member)
    fail(bed)
    assert bed.store.target(bed.admin, broken.uuid).pending == 0
    enabled = bed.store.change_target(bed.admin, broken.uuid, lambda target: replace(WEBHOOK, name=target.name))
    assert (enabled.enabled, enabled.disabled_reason) == (True, "")
    assert bed.store.retry_dead(bed.admin, broken.uuid) == rounds
    (again,) = claim(queue)
    assert again.notification.attempts == 0
    queue.finish_notification(again, FAILED, None)
    assert bed.store.target(bed.admin, broken.uuid).enabled


def test_a_test_reaches_a_disabled_target_first_and_once(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    target = add(bed)
    fail(bed)
    bed.store.change_target(bed.admin, target.uuid, lambda _: replace(WEBHOOK, enabled=False))
    assert queue.next_due() is None
    assert not claim(queue)
    test = bed.store.queue_test(bed.admin, target.uuid)
    assert (test.event, test.due) == (Event.TEST, bed.clock())
    (claimed,) = claim(queue)
    assert claimed.notification.uuid == test.uuid
    queue.finish_notification(claimed, FAILED, None)
    assert (stored(bed, uuid=test.uuid)[0].state, len(claim(queue))) == (NotificationState.DEAD, 0)
    again = bed.store.retry_notification(bed.admin, test.uuid)
    assert (again.uuid, again.state) == (test.uuid, NotificationState.PENDING)


def test_a_clock_that_was_set_back_delays_nothing(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    add(bed)
    fail(bed)
    bed.clock.move(-3600)
    assert queue.next_due() == bed.clock()
    bed.clock.move(365 * 86_400)
    (claimed,) = claim(queue)
    queue.finish_notification(claimed, FAILED, bed.clock() + timedelta(hours=24))
    bed.clock.move(-364 * 86_400)
    assert queue.next_due() == bed.clock()
    assert len(claim(queue)) == 1


def test_a_stored_notification_ends_the_wait(bed: StoreBed) -> None:
    wakeup = bed.queue._wakeup
    queue = SqlNotificationQueue(bed.database, bed.clock, wakeup)
    queue.wait(0)  # subscribes
    wakeup.topics.remove("docker")
    seen = queue._seen
    fail(bed)
    assert wakeup.wait(seen, 0) == seen  # nobody is told of it
    add(bed)
    fail(bed)
    seen, before = wakeup.wait(seen, 0), seen
    assert seen != before
    for _ in range(PATIENCE):
        queue.finish_notification(claim(queue)[0], FAILED, bed.clock())
    fail(bed)
    assert wakeup.wait(seen, 0) == seen  # its target fails again and again


def test_retention(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    target = add(bed)
    for result in (SENT, FAILED):
        fail(bed)
        queue.finish_notification(claim(queue)[0], result, None)
    fail(bed)
    bed.store.change_target(bed.admin, target.uuid, lambda _: replace(WEBHOOK, enabled=False))
    bed.store.queue_test(bed.admin, target.uuid)
    left = []
    for days in (6, 2, 21, 2):
        bed.clock.move(timedelta(days=days).total_seconds())
        while bed.queue.prune(timedelta(days=3650), 2):
            pass
        left.append([each.state.value for each in stored(bed)])
    waiting = ["pending"] * 2
    assert left == [[*waiting, "dead", "sent"], [*waiting, "dead"], [*waiting, "dead"], []]
    with bed.database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM notification_repeats")) == 0
