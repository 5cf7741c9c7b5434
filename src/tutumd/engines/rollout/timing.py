"""Durations of a rollout, the clocks that measure them, waiting, and retries after a conflict."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from tutumd.errors import Cause, EngineRefusedError, EngineUnavailableError, TutumdError, code_of
from tutumd.model import RunLimits
from tutumd.ports import Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations of a rollout and the clocks that measure them.

    Attributes:
        stable_s: Seconds that a new container without a health check must run before it counts.
        poll_s: Pause between two looks at the service.
        idle_s: Maximum wait for somebody else's update to end before this one starts.
        rollback_s: Maximum wait for a rollback, in addition to the time that containers may take to stop.
        doubt_s: Seconds after which a possibly temporary failure counts.
        pull_doubt_s: The same, if a node repeats a pull: it does so 10 s after the first pull, and then checks the pod.
        no_room_s: Seconds that a new container may lack room: a stopping container may still occupy it.
        clock: Monotonic seconds.
        jitter: A new random number from 0 to 1 at each call.
        now: The time in UTC.
    """

    stable_s: float = 3.0
    poll_s: float = 0.5
    idle_s: float = 20.0
    rollback_s: float = 60.0
    doubt_s: float = 4.0
    pull_doubt_s: float = 20.0
    no_room_s: float = 3.0
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def adapted(self, limits: RunLimits) -> "Timing":
        """Return these durations with the stability window of the server's settings, if they set one."""
        return self if limits.stable_s is None else replace(self, stable_s=limits.stable_s)


class HoldTimer:
    """Measures for how long a value has stayed the same."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._value: object = None
        self._since = 0.0

    def seconds(self, value: object) -> float:
        """Record the current value; return for how many seconds it has been the same."""
        if value != self._value:
            self._value, self._since = value, self._clock()
        return self._clock() - self._since


def unfinished(run: Run, state: str) -> str:
    """Return the state in which a run ends, such as "it is not healthy yet", with the exceeded limit.

    A canceled run exceeds no limit.
    """
    overdue = run.overdue_reason()
    return Cause(", and ".join(filter(None, (state, overdue))), code_of(overdue))


def poll_until(run: Run, timing: Timing, look: Callable[[], T], done: Callable[[T], bool], limit_s: float) -> T:
    """Call `look` until its result is `done`, or for `limit_s`; return the last value."""
    ends = timing.clock() + limit_s
    value = look()
    while not done(value) and timing.clock() < ends:
        run.sleep(timing.poll_s)
        value = look()
    return value


_ATTEMPTS = 12
# Attempts at a change that is not permitted; together they take about two seconds.
_DENIED_ATTEMPTS = 6


class StaleError(TutumdError):
    """The object has changed since it was read: read it again."""


class DeniedError(EngineRefusedError):
    """The permission is missing, perhaps only briefly: a starting API server knows no rules yet."""


def retry_on_conflict(run: Run, timing: Timing, change: Callable[[], T]) -> T:
    """Return the result of `change`, after as many attempts as conflicts make necessary.

    Args:
        change: Reads the object, decides and sends. It raises StaleError if the object changed in between.

    Raises:
        EngineUnavailableError: Every attempt had a conflict; nothing was changed.
        EngineRefusedError: The engine refused the change. A missing permission is retried several times first.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return change()
        except StaleError:
            run.log("the service changed at the same moment: trying again")
        except DeniedError:
            if attempt >= _DENIED_ATTEMPTS:
                raise
        run.sleep((0.02 + 0.2 * timing.jitter()) * (attempt + 1))
    raise EngineUnavailableError(f"others changed the service at each of {_ATTEMPTS} attempts to change it")
