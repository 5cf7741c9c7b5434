"""Slots for the tasks of a worker, and parking: while an engine does not respond, its actions wait without a slot, and
a cheap probe checks the engine.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from threading import Condition, Event, Lock, Thread
from typing import Generic, TypeVar

import structlog

from tutumd.errors import EngineUnavailableError, Reason
from tutumd.ports.engine import Engine

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


PROBE_PAUSE_S = 1.0
"""Pause between two probes. A probe takes at most 5 s."""

_log = structlog.get_logger(__name__)


class Parking:
    """Whether one engine instance responds to this worker. Another worker may have another result.

    Attributes:
        reason: Reason why the engine is parked; empty if it is not.
        faults: Fault of its connection; empty if it is unknown.
    """

    def __init__(
        self, engine: Engine, on_change: Callable[[], None], stop: Event, pause_s: float = PROBE_PAUSE_S
    ) -> None:
        """Begin with an engine that responds.

        Args:
            on_change: Called when the engine is parked, and when it may be used again.
            stop: Ends the probes when it is set.
        """
        self.reason = ""
        self.faults: tuple[Reason, ...] = ()
        self._engine = engine
        self._on_change = on_change
        self._stop = stop
        self._pause_s = pause_s
        self._lock = Lock()
        self._suspicion = ""

    @property
    def is_open(self) -> bool:
        """Whether the engine may be used. After a suspicion, the engine may not be used before a successful probe."""
        return not self._suspicion

    def check(self) -> None:
        """Raise EngineUnavailableError if the engine may not be used now."""
        if suspicion := self._suspicion:
            raise EngineUnavailableError(self.reason or suspicion)

    def suspect(self, error: str) -> None:
        """Begin to probe the engine, after `error`, until it responds."""
        with self._lock, suppress(RuntimeError):  # the system has no thread left: the engine stays open
            if self.is_open:
                Thread(target=self._keep_probing, name=f"probe {self._engine.info.name}", daemon=True).start()
                self._suspicion = error or "the engine does not answer"

    def _keep_probing(self) -> None:
        """Park the engine if it does not respond, and open it when it does."""
        while not self._stop.is_set():
            reason = self._probe()
            with self._lock:  # `suspect` has ended
                was_parked, self.reason = bool(self.reason), reason
                self._suspicion = reason
            if was_parked != bool(reason):
                _log.warning("engine is parked" if reason else "engine answers again", reason=reason)
            if not (was_parked and reason):
                self._on_change()
            if not reason:
                return
            self._stop.wait(self._pause_s)

    def _probe(self) -> str:
        """Return why the engine does not respond; empty if it does."""
        try:
            self._engine.probe()
        except EngineUnavailableError as error:
            self.faults = error.faults
            return str(error) or "the engine does not answer"
        except Exception:  # probing too often is better than never again
            _log.exception("probing failed", engine=self._engine.info.name)
        return ""
