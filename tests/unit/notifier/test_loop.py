"""The loop of the notifier, with a queue in memory."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import wait_until
from tutumd.errors import SettingsError, UnavailableError
from tutumd.model.notifications import (
    ClaimedNotification,
    Event,
    Notification,
    NotificationState,
    SendResult,
    Target,
    TargetKind,
)
from tutumd.notifier.loop import MAX_PARALLEL, Notifier

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SENT = SendResult(sent=True, status=204)


def claimed(number: int) -> ClaimedNotification:
    uuid = f"n{number}"
    notification = Notification(
        uuid=uuid,
        number=number,
        target_uuid=uuid,
        target_name="oncall",
        event=Event.ACTION_FAILED,
        state=NotificationState.PENDING,
        payload={"data": {}},
        created=NOW,
        due=NOW,
    )
    target = Target(
        name="oncall",
        kind=TargetKind.WEBHOOK,
        settings={},
        uuid=uuid,
        number=number,
        owner="ann",
        owner_is_admin=False,
        created=NOW,
    )
    return ClaimedNotification(notification=notification, target=target, token=1)


class Queue:
    """A queue whose notifications each have their own target. `faults` are raised first, one per call."""

    def __init__(self, number: int = 0) -> None:
        self.waiting = [claimed(each) for each in range(number)]
        self.results: dict[str, tuple[SendResult, datetime | None]] = {}
        self.claim_faults: list[Exception] = []
        self.finish_faults: list[Exception] = []
        self.waits: list[float] = []
        self.issuers: list[str] = []
        self.keys: dict[str, tuple[str, str]] = {}
        self.due: datetime | None = None
        self._changed = threading.Condition()
        self._count = 0

    def claim_notifications(self, notifier: str, limit: int, lease: timedelta) -> Sequence[ClaimedNotification]:
        if self.claim_faults:
            raise self.claim_faults.pop()
        found, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return found

    def finish_notification(
        self, claimed: ClaimedNotification, result: SendResult, next_attempt: datetime | None
    ) -> None:
        if self.finish_faults:
            raise self.finish_faults.pop()
        self.results[claimed.notification.uuid] = (result, next_attempt)

    def is_needed(self) -> bool:
        return True

    def claim_issuer(self) -> str | None:
        return self.issuers.pop() if self.issuers else None

    def save_keys(self, url: str, keys: str, error: str) -> None:
        self.keys[url] = (keys, error)

    def next_due(self) -> datetime | None:
        return self.due

    def wait(self, timeout_s: float) -> None:
        with self._changed:
            self.waits.append(timeout_s)
            seen = self._count
            self._changed.wait_for(lambda: self._count != seen, min(timeout_s, 0.02))

    def wake(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()


class Sender:
    def __init__(self, send: Callable[[ClaimedNotification], SendResult]) -> None:
        self.send = send


@contextmanager
def running(queue: Queue, send: Callable[[ClaimedNotification], SendResult]) -> Iterator[Notifier]:
    notifier = Notifier(
        queue,
        {TargetKind.WEBHOOK: Sender(send)},
        lambda: NOW,
        lambda target: target.settings,
        name="test",
        pause_s=0.01,
    )
    notifier.start()
    with capture_logs() as logs:
        try:
            yield notifier
        finally:
            notifier.stop(5.0)
    assert "result of a notification was not stored" not in {log["event"] for log in logs}


def test_eight_are_sent_at_once_and_the_next_when_one_has_ended() -> None:
    queue, begun, go_on = Queue(MAX_PARALLEL + 1), [], threading.Event()

    def send(each: ClaimedNotification) -> SendResult:
        begun.append(each)
        go_on.wait()
        return SENT

    with running(queue, send):
        wait_until(lambda: len(begun) == MAX_PARALLEL and len(queue.waits) > 2, "eight attempts")
        assert len(queue.waiting) == 1
        go_on.set()
        wait_until(lambda: len(queue.results) == MAX_PARALLEL + 1, "nine results")
    assert set(queue.results.values()) == {(SENT, None)}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SettingsError("a stored secret was encrypted with another key"), "a stored secret was encrypted with"),
        (RuntimeError("s3cr3t"), "internal error: see the notifier's log"),
    ],
)
def test_a_fault_in_one_message_is_its_result(error: Exception, text: str) -> None:
    queue = Queue(3)
    test = queue.waiting[2]
    queue.waiting[2] = replace(test, notification=replace(test.notification, event=Event.TEST))

    def send(each: ClaimedNotification) -> SendResult:
        if each.notification.number != 1:
            raise error
        return replace(SENT, error="x" * 600)

    with running(queue, send):
        wait_until(lambda: len(queue.results) == 3, "three results")
    assert queue.results["n2"][1] is None  # a test has one attempt
    result, due = queue.results["n0"]
    assert result.error.startswith(text)
    assert due is not None and NOW < due < NOW + timedelta(seconds=6)
    assert len(queue.results["n1"][0].error) == 500


def test_the_loop_survives_faults_of_the_database() -> None:
    queue = Queue(1)
    queue.claim_faults = [RuntimeError("unexpected"), UnavailableError("away")]
    queue.finish_faults = [UnavailableError("away"), UnavailableError("away")]
    with running(queue, lambda _: SENT) as notifier:
        wait_until(lambda: "n0" in queue.results, "the result")
        assert (notifier.state, notifier.liveness) == ("ok", "ok")


@pytest.mark.parametrize(
    ("due", "wait_s"), [(None, 5.0), (NOW + timedelta(seconds=2), 2.0), (NOW + timedelta(days=1), 5.0), (NOW, 5.0)]
)
def test_the_loop_waits_until_the_next_is_due(due: datetime | None, wait_s: float) -> None:
    queue = Queue()
    queue.due = due
    with running(queue, lambda _: SENT):
        wait_until(lambda: len(queue.waits) > 1, "two waits")
    assert set(queue.waits) == {wait_s}


def test_a_stop_waits_for_attempts_up_to_the_grace_period() -> None:
    queue, go_on = Queue(1), threading.Event()

    def send(each: ClaimedNotification) -> SendResult:
        go_on.wait()
        return SENT

    with running(queue, send) as notifier:
        wait_until(lambda: not queue.waiting, "the claim")
        notifier.stop(0.01)
        assert not queue.results
        go_on.set()
        notifier.stop(5.0)
        assert queue.results == {"n0": (SENT, None)}
