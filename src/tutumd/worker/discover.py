"""Discovery: keeps the store in sync with one engine instance, by its events and by regular full passes."""

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread

import structlog

from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError, UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports.engine import Engine, PartialDiscoveryError
from tutumd.ports.queue import Queue
from tutumd.worker.parking import Parking

FULL_PASS_S = 10.0
"""A pass begins at least this often, even without events."""

_MIN_PAUSE_S, _MAX_PAUSE_S = 0.2, 1.0
_PAUSE_PER_PASS = 4.0
"""The pause after a pass, as a multiple of the pass: endless events use at most a fifth of a core."""

_BACKOFF_S = 1.0
_RECONNECT_S = 0.5
_log = structlog.get_logger(__name__)


class Discovery:
    """Two threads that discover the services of one engine instance until they are stopped."""

    def __init__(self, worker: str, engine: Engine, queue: Queue) -> None:
        """Create the threads. `start` starts them."""
        self._worker = worker
        self._engine = engine
        self._queue = queue
        self._stop = Event()
        self._changed = Event()
        self._error: str | None = None
        self._was_away = False
        self.parking = Parking(engine, self._parking_changed, self._stop)
        name = engine.info.name
        self._log = _log.bind(engine=name)
        self._threads = [
            Thread(target=self._keep_syncing, name=f"discover {name}", daemon=True),
            Thread(target=self._keep_watching, name=f"watch {name}", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop, and wait at most this long for each thread."""
        self._stop.set()
        self._changed.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def action_ended(self) -> None:
        """Look again soon: an action may have changed other services, too."""
        self._changed.set()

    @property
    def info(self) -> EngineInfo:
        """The engine, with why it is parked, else the error of the last pass."""
        reason = self.parking.reason
        return replace(self._engine.info, error=reason or self._error or "", away=bool(reason))

    def _parking_changed(self) -> None:
        self._queue.wake()
        if self.info.away == self._was_away:  # it was only suspected: another pass would raise the same suspicion
            return
        self._was_away = self.info.away
        self._changed.set()
        try:
            self._queue.register(self._worker, [self.info])
        except UnavailableError as error:  # the next heartbeat will
            self._log.warning("engine was not registered", error=str(error))

    def _keep_syncing(self) -> None:
        # Wait until events are watched: a pass before that would have to be repeated.
        self._changed.wait(_MIN_PAUSE_S)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._report(self._sync())
            except UnavailableError as error:
                self._log.debug("discovery was not stored", error=str(error))
            except Exception:
                self._log.exception("discovery failed")
                self._stop.wait(_BACKOFF_S)
            pause_s = _PAUSE_PER_PASS * (time.monotonic() - began)
            self._changed.wait(FULL_PASS_S if self._error == "" else _BACKOFF_S)
            self._stop.wait(min(max(_MIN_PAUSE_S, pause_s), _MAX_PAUSE_S))
            self._changed.clear()

    def _sync(self) -> str:
        """Store the engine's services, and return why some could not be read; empty if all could."""
        partial_error = ""
        options: dict[str, Callable[[str], bool]] = {}
        revisions = self._queue.revisions(self._engine.info.name)
        try:
            snapshots = self._engine.discover()
        except PartialDiscoveryError as error:
            snapshots, partial_error, options = error.snapshots, str(error), {"is_unreadable": error.is_unreadable}
        except EngineUnavailableError as error:
            self.parking.suspect(str(error))
            return str(error)
        if not self._queue.sync(self._engine.info, snapshots, revisions=revisions, **options):
            self._changed.set()
        return partial_error

    def _report(self, error: str) -> None:
        """Log and store the engine's error if it has changed."""
        if error == self._error:
            return
        self._error = error
        if error:
            self._log.warning("engine cannot be reached", error=error)
        else:
            self._log.info("engine is watched")
        self._queue.register(self._worker, [self.info])

    def _keep_watching(self) -> None:
        refusals: set[str] = set()
        while not self._stop.is_set():
            try:
                self._engine.watch(self._changed.set, self._stop)
                refusals.clear()
            except EngineRefusedError as error:
                if str(error) not in refusals:
                    self._log.warning("engine cannot be watched", error=str(error))
                # A second refusal is lasting, unlike a broken connection: rely on full passes.
                if refusals:
                    self._stop.wait(FULL_PASS_S)
                refusals.add(str(error))
            except TutumdError as error:
                self._log.debug("watching was interrupted", error=str(error))
            except Exception:
                self._log.exception("watching failed")
            self._changed.set()
            self._stop.wait(_RECONNECT_S)
