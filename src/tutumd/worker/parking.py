"""Parking: while an engine does not respond, its actions wait without a slot, and a cheap probe checks the engine."""

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

import structlog

from tutumd.errors import EngineUnavailableError, Reason
from tutumd.ports import Engine

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
        self, engine: Engine, on_change: Callable[[bool], None], stop: Event, pause_s: float = PROBE_PAUSE_S
    ) -> None:
        """Begin with an engine that responds.

        Args:
            on_change: Called when the engine is parked, and when it may be used again. The argument is False if it was
                only suspected in between.
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
            has_changed = was_parked != bool(reason)
            if has_changed:
                _log.warning("engine is parked" if reason else "engine answers again", reason=reason)
            if has_changed or not reason:
                self._on_change(has_changed)
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
