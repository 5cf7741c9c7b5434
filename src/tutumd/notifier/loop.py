"""The loop of the notifier: claim notifications, send each in a thread, and store the results."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event

import structlog

from tutumd.boottime import boottime_s
from tutumd.errors import TutumdError, UnavailableError
from tutumd.model.notifications import MAX_ERROR_CHARS, ClaimedNotification, SendResult, Target, TargetKind
from tutumd.model.notifications import Event as NotificationEvent
from tutumd.ports import HEARTBEAT_TIMEOUT, Clock, NotificationQueue, Sender
from tutumd.threads import Loop, Slots, explain_stuck

MAX_PARALLEL = 8
LEASE = timedelta(seconds=90)
"""Longer than the longest attempt, 30 s, and the tries to store its result."""

POLL_S = 5.0
"""A wake-up may be lost."""

_HOUR = 3600
DELAYS_S = (0, 5, 300, 1800, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
"""Delay in seconds before each attempt, as Standard Webhooks recommends."""

JITTER = 0.1
MAX_RETRY_AFTER_S = 24 * _HOUR
_STORE_TRIES = 30
_log = structlog.get_logger(__name__)


class Notifier:
    """Sends notifications in a bounded number of threads."""

    def __init__(
        self,
        queue: NotificationQueue,
        senders: Mapping[TargetKind, Sender],
        clock: Clock,
        decrypt: Callable[[Target], Mapping[str, str]],
        *,
        name: str,
        fetch_keys: Callable[[], None] = lambda: None,
        pause_s: float = 1.0,
    ) -> None:
        """Create a notifier; `start` starts it.

        Args:
            clock: The clock of the queue.
            decrypt: Returns the settings of a target in plain text. May raise TutumdError.
            fetch_keys: Starts to fetch the keys of issuers that are due.
            pause_s: Pause in seconds after a fault of the database.
        """
        self._name = name
        self._queue = queue
        self._senders = senders
        self._clock = clock
        self._decrypt = decrypt
        self._fetch_keys = fetch_keys
        self._pause_s = pause_s
        self._stop = Event()
        self._slots: Slots[ClaimedNotification] = Slots(
            TargetKind, per_kind=MAX_PARALLEL, in_all=MAX_PARALLEL, on_free=queue.wake
        )
        self._read_at = boottime_s()
        self._loop = Loop("notify", self._send_due, self._stop, pause_s=pause_s)

    def start(self) -> None:
        """Start the loop."""
        self._loop.start()

    def stop(self, grace_s: float) -> None:
        """Stop claiming, and give the attempts in progress time to end. The lease of others ends by itself."""
        self._stop.set()
        self._queue.wake()
        self._loop.join(2.0)  # it may just have claimed a notification
        self._slots.wait_until_empty(grace_s)

    @property
    def state(self) -> str:
        """`ok`, or how long the database could not be used."""
        age_s = boottime_s() - self._read_at
        is_alive = age_s <= HEARTBEAT_TIMEOUT.total_seconds()
        return "ok" if is_alive else f"the database has not answered it for {age_s:.0f} s"

    @property
    def liveness(self) -> str:
        """As `explain_stuck` of the loop; `ok` while the notifier stops."""
        return "ok" if self._stop.is_set() else explain_stuck([self._loop])

    def _send_due(self) -> None:
        """Claim notifications that are due and start to send them; wait until there may be more."""
        free = MAX_PARALLEL - len(self._slots.tasks())
        claims = self._queue.claim_notifications(self._name, free, LEASE) if free else ()
        for claimed in claims:
            self._slots.start(claimed.target.kind, claimed, self._send_claimed)
        self._fetch_keys()
        # The end of an attempt, too, wakes the loop: it frees a slot and a target.
        due = self._queue.next_due() if free else None
        self._read_at = boottime_s()
        wait_s = (due - self._clock()).total_seconds() if due else POLL_S
        self._queue.wait(min(wait_s, POLL_S) if wait_s > 0 else POLL_S)

    def _send_claimed(self, claimed: ClaimedNotification) -> None:
        try:
            self._finish(claimed, self._send(claimed))
        except Exception:
            _log.exception("result of a notification was not stored", notification=claimed.notification.uuid)

    def _send(self, claimed: ClaimedNotification) -> SendResult:
        try:
            target = replace(claimed.target, settings=self._decrypt(claimed.target))
            return self._senders[target.kind].send(replace(claimed, target=target))
        except TutumdError as error:
            return SendResult(sent=False, error=str(error))
        except Exception:
            _log.exception("sending failed unexpectedly", notification=claimed.notification.uuid)
            return SendResult(sent=False, error="internal error: see the notifier's log")

    def _finish(self, claimed: ClaimedNotification, result: SendResult) -> None:
        notification = claimed.notification
        result = replace(result, error=result.error[:MAX_ERROR_CHARS])
        due = next_attempt(notification.attempts + 1, result, self._clock(), random.random())  # noqa: S311 (spreads them)
        due = None if notification.event is NotificationEvent.TEST else due
        self._store(claimed, result, due)
        log = _log.bind(notification=notification.uuid, target=claimed.target.uuid, told=notification.event.value)
        if result.sent:
            log.info("notification was sent")
        else:
            log.warning("notification was not sent", error=result.error, next_attempt=str(due) if due else "none")

    def _store(self, claimed: ClaimedNotification, result: SendResult, due: datetime | None) -> None:
        """Store the result, also if the database is away for some time: otherwise the message is sent twice."""
        for _ in range(_STORE_TRIES):
            try:
                return self._queue.finish_notification(claimed, result, due)
            except UnavailableError:
                if self._stop.wait(self._pause_s):
                    break
        return self._queue.finish_notification(claimed, result, due)


def next_attempt(attempts: int, result: SendResult, now: datetime, chance: float) -> datetime | None:
    """Return the time of the next attempt; None: there is none.

    Args:
        attempts: Number of attempts, with the one that has this result.
        chance: Random number from 0 to 1, which moves the time by up to 10 %.
    """
    if result.sent or result.is_final or result.is_gone or attempts >= len(DELAYS_S):
        return None
    delay_s = DELAYS_S[attempts] * (1 - JITTER + 2 * JITTER * chance)
    return now + timedelta(seconds=max(delay_s, min(result.retry_after_s or 0.0, MAX_RETRY_AFTER_S)))
