"""Slots of a worker: a bounded number of parallel tasks on each engine and in all, each in its own thread."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Slots(Generic[T]):
    """Free slots, and the tasks in the occupied slots. Only one thread starts tasks."""

    def __init__(self, engines: Iterable[str], *, per_engine: int, in_all: int, on_free: Callable[[], None]) -> None:
        """Create free slots. `on_free` is called whenever a slot becomes free."""
        self._per_engine = per_engine
        self._in_all = in_all
        self._on_free = on_free
        self._last_turns = dict.fromkeys(engines, 0)
        self._engine_by_task: dict[T, str] = {}
        self._changed = Condition()

    def free(self) -> list[str]:
        """Return the engines with a free slot: those with the fewest tasks first, then those that have waited
        longest.
        """
        with self._changed:
            counts = Counter(self._engine_by_task.values())
        if counts.total() >= self._in_all:
            return []
        free = [engine for engine in self._last_turns if counts[engine] < self._per_engine]
        return sorted(free, key=lambda engine: (counts[engine], self._last_turns[engine]))

    def start(self, engine: str, task: T, perform: Callable[[T], None]) -> None:
        """Perform a task in a free slot of an engine, until it ends."""
        self._last_turns[engine] = max(self._last_turns.values()) + 1
        with self._changed:  # the task may end immediately
            Thread(target=self._perform, args=(task, perform), daemon=True).start()
            self._engine_by_task[task] = engine

    def tasks(self) -> list[T]:
        """Return the tasks that have not ended."""
        with self._changed:
            return list(self._engine_by_task)

    def wait_until_empty(self, timeout_s: float) -> None:
        """Wait until all tasks have ended, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: not self._engine_by_task, timeout_s)

    def _perform(self, task: T, perform: Callable[[T], None]) -> None:
        try:
            perform(task)
        finally:
            with self._changed:
                del self._engine_by_task[task]
                self._changed.notify_all()
            self._on_free()
