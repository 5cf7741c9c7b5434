"""Threads of the worker and the notifier: loops that repeat a task until a stop, and slots for single tasks."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Condition, Event, Thread, current_thread
from typing import Generic, TypeVar

import structlog

from tutumd.errors import UnavailableError

STUCK_S = 120.0
"""Longer than all time limits within one round of a loop."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Loop(Thread):
    """A thread that repeats a task until it is stopped. No fault of the task ends it."""

    def __init__(
        self,
        name: str,
        task: Callable[[], object],
        stop: Event,
        *,
        pause_s: float = 1.0,
        at_end: Callable[[], object] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the loop; `start` starts it.

        Args:
            stop: Ends the loop after the current round.
            pause_s: Pause in seconds after a fault.
            at_end: Called after the last round, even if that failed. May raise UnavailableError.
        """
        super().__init__(name=name, daemon=True)
        self._task = task
        self._stop_request = stop
        self._pause_s = pause_s
        self._at_end = at_end
        self._monotonic = monotonic
        self._round_began = monotonic()

    def run(self) -> None:
        while not self._stop_request.is_set():
            self._round_began = self._monotonic()
            try:
                self._task()
            except UnavailableError as error:
                _log.debug("round was interrupted", loop=self.name, error=str(error))
                self._stop_request.wait(self._pause_s)
            except Exception:
                _log.exception("round failed", loop=self.name)
                self._stop_request.wait(self._pause_s)
        with suppress(UnavailableError):
            self._at_end()

    @property
    def round_s(self) -> float:
        """Seconds since the current round began, or the last round if the thread has ended."""
        return self._monotonic() - self._round_began


def explain_stuck(loops: Sequence[Loop]) -> str:
    """Return `ok`, or the loops that are stuck or have ended. A loop that the database refuses still makes its rounds,
    so it is `ok`.
    """
    stuck = [f"{loop.name} for {loop.round_s:.0f} s" for loop in loops if loop.round_s > STUCK_S]
    return f"stuck: {', '.join(stuck)}" if stuck else "ok"


class Slots(Generic[T]):
    """Free slots for tasks of several kinds, such as one kind per engine, and the tasks in the occupied slots. Only one
    thread starts tasks.
    """

    def __init__(self, kinds: Iterable[str], *, per_kind: int, in_all: int, on_free: Callable[[], None]) -> None:
        """Create free slots. `on_free` is called whenever a slot becomes free."""
        self._per_kind = per_kind
        self._in_all = in_all
        self._on_free = on_free
        self._last_turns = dict.fromkeys(kinds, 0)
        self._occupied: dict[Thread, tuple[str, T]] = {}
        self._changed = Condition()

    def free(self) -> list[str]:
        """Return the kinds with a free slot: those with the fewest tasks first, then those that have waited longest."""
        with self._changed:
            counts = Counter(kind for kind, _ in self._occupied.values())
        if counts.total() >= self._in_all:
            return []
        free = [kind for kind in self._last_turns if counts[kind] < self._per_kind]
        return sorted(free, key=lambda kind: (counts[kind], self._last_turns[kind]))

    def start(self, kind: str, task: T, perform: Callable[[T], None]) -> None:
        """Perform a task in a free slot of its kind, until it ends."""
        self._last_turns[kind] = max(self._last_turns.values()) + 1
        thread = Thread(target=self._perform, args=(task, perform), daemon=True)
        with self._changed:  # the task may end immediately
            thread.start()
            self._occupied[thread] = (kind, task)

    def tasks(self) -> list[T]:
        """Return the tasks that have not ended."""
        with self._changed:
            return [task for _, task in self._occupied.values()]

    def wait_until_empty(self, timeout_s: float) -> None:
        """Wait until all tasks have ended, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: not self._occupied, timeout_s)

    def _perform(self, task: T, perform: Callable[[T], None]) -> None:
        try:
            perform(task)
        finally:
            with self._changed:
                del self._occupied[current_thread()]
                self._changed.notify_all()
            self._on_free()
