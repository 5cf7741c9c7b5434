"""Parking: while an engine does not respond, its actions wait without a slot, and a cheap probe checks the engine."""

from contextlib import suppress
from threading import Event, Lock, Thread

import structlog

from tutumd.errors import EngineUnavailableError, Reason
from tutumd.ports import Engine

_log = structlog.get_logger(__name__)


class Parking:
    """Whether one engine instance responds to this worker. Another worker may have another result.

    Attributes:
        reason: Reason why the engine is parked; empty if it is not.
        faults: Fault of its connection; empty if it is unknown.
    """

    def __init__(self, engine: Engine, stop: Event, pause_s: float) -> None:
        """Begin with an engine that responds. `stop` ends the probes when it is set."""
        self.reason = ""
        self.faults: tuple[Reason, ...] = ()
        self._engine = engine
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
