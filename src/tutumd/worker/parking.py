"""Parking: while an engine does not answer, its actions wait without a slot, and a cheap probe asks for it."""

from collections.abc import Callable
from threading import BoundedSemaphore, Event, Lock, Thread

import structlog

from tutumd.errors import EngineUnavailableError
from tutumd.ports.engine import Engine

PROBE_PAUSE_S = 1.0
"""A probe begins this often, even if the last one hangs: a host that is back may answer only new connections."""

_MAX_PROBES = 6
_log = structlog.get_logger(__name__)


class Parking:
    """Whether one engine instance answers this worker. Another worker may see it otherwise.

    Attributes:
        reason: Why the engine is parked; empty if it is not.
    """

    def __init__(
        self,
        engine: Engine,
        on_change: Callable[[], None],
        stop: Event,
        pause_s: float = PROBE_PAUSE_S,
        start: Callable[[Thread], None] = Thread.start,
    ) -> None:
        """Begin with an engine that answers.

        Args:
            on_change: Called when the engine is parked, and when it may be used again.
            stop: Ends the probing once it is set.
            pause_s: Time between the starts of two probes.
            start: Starts a thread, or raises RuntimeError if the system has none left.
        """
        self.reason = ""
        self._engine = engine
        self._on_change = on_change
        self._stop = stop
        self._pause_s = pause_s
        self._start_thread = start
        self._lock = Lock()
        self._probes = BoundedSemaphore(_MAX_PROBES)
        self._opened = Event()
        self._opened.set()
        self._suspicion = ""

    @property
    def is_open(self) -> bool:
        """Whether the engine may be used. After a suspicion it may not before a probe was answered."""
        return self._opened.is_set()

    def check(self) -> None:
        """Raise EngineUnavailableError if the engine may not be used now."""
        if not self.is_open:
            raise EngineUnavailableError(self.reason or self._suspicion)

    def suspect(self, error: str) -> None:
        """Begin to probe the engine, after `error`, until it answers."""
        with self._lock:
            if not self.is_open:
                return
            self._suspicion = error
            self._opened.clear()
        try:
            self._start(self._keep_probing)
        except RuntimeError:  # the system has no thread left: the next error raises the suspicion again
            self._opened.set()

    def _start(self, target: Callable[[], None]) -> None:
        self._start_thread(Thread(target=target, name=f"probe {self._engine.info.name}", daemon=True))

    def _keep_probing(self) -> None:
        while not (self.is_open or self._stop.is_set()):
            if self._probes.acquire(blocking=False):
                try:
                    self._start(self._probe)
                except RuntimeError:  # no thread is left for it: this one asks, even if that takes longer
                    self._probe()
            self._opened.wait(self._pause_s)

    def _probe(self) -> None:
        """Park the engine if it does not answer, else open it. A probe that ends after an answer is too late."""
        reason = ""
        try:
            self._engine.probe()
        except EngineUnavailableError as error:
            reason = str(error)
        except Exception:  # rather ask too much of the engine than never again
            _log.exception("probing failed", engine=self._engine.info.name)
        finally:
            self._probes.release()
        with self._lock:
            if self.is_open:
                return
            was_parked, self.reason = bool(self.reason), reason
            if not reason:
                self._opened.set()
        if was_parked != bool(reason):
            _log.warning("engine is parked" if reason else "engine answers again", reason=reason)
        if not (was_parked and reason):
            self._on_change()
