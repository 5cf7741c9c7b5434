"""Parking: while an engine does not answer, its actions wait without a slot, and a cheap probe asks for it."""

from collections.abc import Callable
from threading import BoundedSemaphore, Event, Lock, Thread

import structlog

from tutumd.errors import EngineUnavailableError
from tutumd.ports import Engine

PROBE_PAUSE_S = 1.0
"""A probe begins this often, even if the last one hangs: a host that is back may answer only new connections."""

_MAX_PROBES = 6
_log = structlog.get_logger(__name__)


class Parking:
    """Whether one engine instance answers this worker. Another worker may see it otherwise."""

    def __init__(self, engine: Engine, on_change: Callable[[], None]) -> None:
        """Begin with an engine that answers. `on_change` is called when it is parked, and when it may be used again."""
        self._engine = engine
        self._on_change = on_change
        self._lock = Lock()
        self._probes = BoundedSemaphore(_MAX_PROBES)
        self._opened = Event()
        self._opened.set()
        self._suspicion = ""
        self._reason = ""

    @property
    def is_open(self) -> bool:
        """Whether the engine may be used. After a suspicion it may not before a probe was answered."""
        return self._opened.is_set()

    @property
    def reason(self) -> str:
        """Why the engine is parked; empty if it is not."""
        return self._reason

    def check(self) -> None:
        """Raise EngineUnavailableError if the engine may not be used now."""
        if not self.is_open:
            raise EngineUnavailableError(self._reason or self._suspicion)

    def suspect(self, error: str) -> None:
        """Begin to probe the engine, after `error`, until it answers."""
        with self._lock:
            if not self.is_open:
                return
            self._suspicion = error
            self._opened.clear()
        Thread(target=self._keep_probing, name=f"probe {self._engine.info.name}", daemon=True).start()

    def stop(self) -> None:
        """End the probing."""
        self._opened.set()

    def _keep_probing(self) -> None:
        while not self.is_open:
            if self._probes.acquire(blocking=False):
                Thread(target=self._probe, name=f"ask {self._engine.info.name}", daemon=True).start()
            self._opened.wait(PROBE_PAUSE_S)

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
            was_parked, self._reason = bool(self._reason), reason
            if not reason:
                self._opened.set()
        if was_parked != bool(reason):
            _log.warning("engine is parked" if reason else "engine answers again", reason=reason)
        if not (was_parked and reason):
            self._on_change()
