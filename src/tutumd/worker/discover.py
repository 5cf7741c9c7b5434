"""Keeping the store's picture of one engine instance up to date: by its events, and by full passes."""

import time
from dataclasses import replace
from threading import Event, Thread

import structlog

from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError, UnavailableError
from tutumd.model import EngineInfo, ServiceSnapshot
from tutumd.ports import Engine, PartialDiscoveryError, Queue

FULL_PASS_S = 10.0
_SETTLE_S, _LONGEST_SETTLE_S = 0.2, 1.0
_SETTLE_PER_PASS = 4.0
"""How much longer than a pass the pause before the next one is: events without end cost a fifth of a core."""
_BACKOFF_S = 1.0
_RECONNECT_S = 0.5
_MAX_STALE_PASSES = 3
_log = structlog.get_logger(__name__)


class Discovery:
    """Discovers the services of one engine instance in two threads until it is stopped."""

    def __init__(self, worker: str, engine: Engine, queue: Queue) -> None:
        """Take what is to be discovered, and where it is told."""
        self._worker = worker
        self._engine = engine
        self._queue = queue
        self._stop = Event()
        self._changed = Event()
        self._ended_actions = 0
        self._error: str | None = None
        self._threads = [
            Thread(target=self._pass_for_ever, name=f"discover {engine.info.name}", daemon=True),
            Thread(target=self._watch_for_ever, name=f"watch {engine.info.name}", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """End; waits at most so long for the threads."""
        self._stop.set()
        self._changed.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def action_ended(self) -> None:
        """Tell that an action stored a newer picture of its service than a pass under way can have."""
        self._ended_actions += 1
        self._changed.set()

    @property
    def info(self) -> EngineInfo:
        """The engine, with the error of the last pass."""
        return replace(self._engine.info, error=self._error or "")

    def _pass_for_ever(self) -> None:
        # A first look before the events are followed would have to be repeated.
        self._changed.wait(_SETTLE_S)
        while not self._stop.is_set():
            began = time.monotonic()
            self._pass()
            pause_s = _SETTLE_PER_PASS * (time.monotonic() - began)
            self._changed.wait(FULL_PASS_S if self._error == "" else _BACKOFF_S)
            self._stop.wait(min(max(_SETTLE_S, pause_s), _LONGEST_SETTLE_S))
            self._changed.clear()

    def _pass(self) -> None:
        try:
            self._tell(self._look())
        except UnavailableError as error:
            _log.warning("discovery was not stored", engine=self._engine.info.name, error=str(error))
        except Exception:
            # A fault of ours in reading one engine must not end the discovery of it.
            _log.exception("discovery failed", engine=self._engine.info.name)
            self._stop.wait(_BACKOFF_S)

    def _look(self) -> str:
        """Store what the engine shows; answer why it, or a part of it, could not be looked at; empty where it could."""
        try:
            for _ in range(_MAX_STALE_PASSES):
                before = self._ended_actions
                seen, rest = self._discover()
                if before == self._ended_actions:
                    break
        except EngineUnavailableError as error:
            return str(error)
        if rest is None:
            self._queue.sync(self._engine.info, seen)
            return ""
        self._queue.sync(self._engine.info, seen, is_unreadable=rest.is_unreadable)
        return str(rest)

    def _discover(self) -> tuple[tuple[ServiceSnapshot, ...], PartialDiscoveryError | None]:
        try:
            return self._engine.discover(), None
        except PartialDiscoveryError as error:
            return error.snapshots, error

    def _tell(self, error: str) -> None:
        if error == self._error:
            return
        self._error = error
        if error:
            _log.warning("engine cannot be reached", engine=self._engine.info.name, error=error)
        else:
            _log.info("engine is watched", engine=self._engine.info.name)
        self._queue.register(self._worker, [self.info])

    def _watch_for_ever(self) -> None:
        refused: set[str] = set()
        while not self._stop.is_set():
            try:
                self._engine.watch(self._changed.set, self._stop)
                refused.clear()
            except EngineRefusedError as error:
                if str(error) not in refused:
                    _log.warning("engine cannot be watched", engine=self._engine.info.name, error=str(error))
                # What is refused again lasts, unlike a broken connection: full passes show what there is.
                if refused:
                    self._stop.wait(FULL_PASS_S)
                refused.add(str(error))
            except TutumdError as error:
                _log.debug("watching was interrupted", engine=self._engine.info.name, error=str(error))
            except Exception:
                _log.exception("watching failed", engine=self._engine.info.name)
            self._changed.set()
            self._stop.wait(_RECONNECT_S)
