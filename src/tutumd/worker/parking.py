"""Parking: while an engine does not answer, its actions wait without a slot, and a cheap probe asks for it."""

from collections.abc import Callable
from threading import BoundedSemaphore, Event, Lock, Thread

import structlog

from tutumd.errors import EngineUnavailableError
from tutumd.ports import Engine

PROBE_PAUSE_S = 1.0
"""A probe begins this often, even if the last one hangs: a host that is back answers new connections first."""

_MAX_PROBES = 6
_log = structlog.get_logger(__name__)


class Parking:
    """Whether one engine instance answers this worker. Another worker may see it otherwise."""

    def __init__(self, engine: Engine, on_change: Callable[[], None], on_open: Callable[[], None]) -> None:
        """Begin with an engine that answers.

        Args:
            on_change: Called when `reason` has changed.
            on_open: Called when its actions may be claimed again.
        """
        self._engine = engine
        self._on_change = on_change
        self._on_open = on_open
        self._lock = Lock()
        self._probes = BoundedSemaphore(_MAX_PROBES)
        self._answered = Event()
        self._answered.set()
        self._suspicion = ""
        self._reason = ""

    @property
    def is_open(self) -> bool:
        """Whether its actions may be claimed. It is not until the first probe after a suspicion has ended, either."""
        return self._answered.is_set()

    @property
    def reason(self) -> str:
        """Why the engine is parked; empty if it is not."""
        return self._reason

    def check(self) -> None:
        """Raise EngineUnavailableError if nothing should be asked of the engine now."""
        if not self.is_open:
            raise EngineUnavailableError(self._reason or self._suspicion)

    def suspect(self, error: str) -> None:
        """Begin to probe the engine, after `error`, until it answers."""
        with self._lock:
            if not self.is_open:
                return
            self._suspicion = error
            self._answered.clear()
        try:
            Thread(target=self._keep_probing, name=f"probe {self._engine.info.name}", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._answered.set()

    def stop(self) -> None:
        """End the probing."""
        self._answered.set()

    def _keep_probing(self) -> None:
        while not self.is_open:
            if self._probes.acquire(blocking=False):
                try:
                    Thread(target=self._probe, name=f"ask {self._engine.info.name}", daemon=True).start()
                except RuntimeError:
                    self._probes.release()
            self._answered.wait(PROBE_PAUSE_S)

    def _probe(self) -> None:
        reason = ""
        try:
            self._engine.probe()
        except EngineUnavailableError as error:
            reason = str(error)
        except Exception:  # rather ask too much of the engine than never again
            _log.exception("probing failed", engine=self._engine.info.name)
        finally:
            self._probes.release()
        self._judge(reason)

    def _judge(self, reason: str) -> None:
        """Park the engine for a reason, or open it if there is none. A probe that ends after an answer is too late."""
        with self._lock:
            if self.is_open:
                return
            has_changed = bool(reason) != bool(self._reason)
            self._reason = reason
            if not reason:
                self._answered.set()
        if has_changed:
            _log.warning("engine is parked" if reason else "engine answers again", reason=reason)
            self._on_change()
        if not reason:
            self._on_open()
