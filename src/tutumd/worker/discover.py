"""Discovery: keeps the store in sync with one engine instance, by its events and by regular full passes.

One of the workers of the engine does this, under a lease that it renews while its passes succeed.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event, Lock, Thread

import structlog

from tutumd.boottime import boottime_s
from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError, UnavailableError
from tutumd.model import EngineInfo
from tutumd.ports import Engine, PartialDiscoveryError, Queue
from tutumd.threads import Loop
from tutumd.worker.parking import PROBE_PAUSE_S, Parking
from tutumd.worker.trust import JournalSeal

_PAUSE_PER_PASS = 4.0
"""The pause after a pass, as a multiple of the pass: a constant stream of events uses at most a fifth of a core."""

_LEASE_PER_PASS = 2.0
"""Extension of the lease by the last pass, as a multiple of its duration: the next pass may take longer than the
lease.
"""

_RENEWED_BELOW = 0.6

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Pauses of discovery in seconds.

    Attributes:
        full_pass_s: Maximum time between the beginnings of passes, even without events.
        beat_s: Interval of the checks of the lease.
        reconnect_s: Pause before a broken event connection is restored.
        shortest_s, longest_s: Limits of the pause after a pass.
        probe_s: Interval of the probes of a parked engine.
    """

    full_pass_s: float = 10.0
    beat_s: float = 1.0
    reconnect_s: float = 0.5
    shortest_s: float = 0.2
    longest_s: float = 1.0
    probe_s: float = PROBE_PAUSE_S


class Discovery:
    """Two threads that discover the services of one engine instance, unless another worker does.

    Attributes:
        parking: Whether the engine responds to this worker, even if another worker discovers it.
    """

    def __init__(
        self,
        worker: str,
        engine: Engine,
        queue: Queue,
        lease: timedelta = timedelta(seconds=10),
        pauses: Pauses = Pauses(),
        *,
        seal: JournalSeal,
    ) -> None:
        """Create the threads. `start` starts them.

        Args:
            lease: Time for which the discovery stays with this worker after a kill, or while its passes fail.
            seal: Seal of all workers of this database.
        """
        self._lease = lease
        self._pauses = pauses
        self._worker = worker
        self._engine = engine
        self._queue = queue
        self._seal = seal
        self._stop = Event()
        self._changed = Event()
        self._held, self._released, self._reporting = Event(), Event(), Lock()
        self._lease_ends = self._next_pass = self._pass_s = 0.0
        self._is_well = self._is_standby = False
        if not engine.info.is_shared:
            self._lease_ends = math.inf
            self._held.set()
        self._error: str | None = None
        self._reported: EngineInfo | None = None
        self.parking = Parking(engine, self._parking_changed, self._stop, pauses.probe_s)
        name = engine.info.name
        self._log = _log.bind(engine=name)
        self._threads = (
            Loop(f"discover {name}", self._keep_in_sync, self._stop, pause_s=pauses.beat_s, at_end=self._release),
            Thread(target=self._keep_watching, name=f"watch {name}", daemon=True),
        )

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop, and wait at most this long for each thread."""
        self._stop.set()
        for event in (self._released, self._held, self._changed):
            event.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def action_ended(self) -> None:
        """Look again soon: an action may have changed other services, too."""
        self._changed.set()

    @property
    def info(self) -> EngineInfo:
        """The engine, with the reason why it is parked, else the error of the last pass."""
        reason = self.parking.reason
        return replace(
            self._engine.info,
            error=reason or self._error or "",
            faults=self.parking.faults if reason else (),
            away=bool(reason),
        )

    def _parking_changed(self, has_changed: bool) -> None:
        self._queue.wake()
        if has_changed and self._held.is_set():
            self._changed.set()
            try:
                self._register()
            except UnavailableError as error:  # the next pass will
                self._log.warning("engine was not registered", error=str(error))

    def _keep_in_sync(self) -> None:
        if not self._hold():
            self._changed.clear()
        elif self._changed.is_set() or time.monotonic() >= self._next_pass:
            self._changed.clear()
            self._pass()
        self._changed.wait(self._pauses.beat_s)
        self._stop.wait(min(max(self._pauses.shortest_s, _PAUSE_PER_PASS * self._pass_s), self._pauses.longest_s))

    def _release(self) -> None:
        """Give the lease back: another worker need not wait for its end."""
        if self._engine.info.is_shared:
            self._queue.lease_discovery(self._worker, self._engine.info.name, lease=timedelta())

    def _hold(self) -> bool:
        """Return whether to discover the engine. Take the lease if it is free; renew it while passes succeed.

        After the lease has expired, this worker continues until another worker takes it. A standby takes the lease only
        if it can reach the engine. A worker that never tried reports even a failure: there may be no other worker.
        """
        was_held, now = self._held.is_set(), boottime_s()
        lease_s = self._lease.total_seconds() + _LEASE_PER_PASS * self._pass_s
        if was_held and now < self._lease_ends - (_RENEWED_BELOW * lease_s if self._is_well else 0.0):
            return True
        if self.parking.reason and self._is_standby:
            return False
        lease = timedelta(seconds=lease_s) if self._is_well or not was_held else None
        is_held = self._queue.lease_discovery(self._worker, self._engine.info.name, lease=lease)
        self._is_standby = not is_held
        if is_held and lease:
            # Report the health again: a worker that was stopped may have reported its own health since.
            self._lease_ends, self._reported = now + lease_s, None
        if is_held and not was_held:
            self._is_well, self._next_pass, self._released = True, 0.0, Event()
            self._held.set()
            # Until events are watched, because an earlier pass would have to be repeated.
            self._changed.wait(self._pauses.shortest_s)
        elif was_held and not is_held:
            self._held.clear()
            self._released.set()
        return is_held

    def _pass(self) -> None:
        began, self._is_well, self._next_pass = time.monotonic(), False, 0.0
        self._report(self._sync())
        if self._is_well:
            self._pass_s = time.monotonic() - began
            self._next_pass = time.monotonic() + (0.0 if self._error else self._pauses.full_pass_s)

    def _sync(self) -> str:
        """Store the engine's services, and return why some could not be read; empty if all were read."""
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
        sealed = [self._seal.seal_image(self._engine.info.name, each.selector, each) for each in snapshots]
        if not self._queue.sync(self._engine.info, sealed, revisions=revisions, worker=self._worker, **options):
            self._changed.set()
        self._is_well = True
        return partial_error

    def _report(self, error: str) -> None:
        """Log the error of a pass if it has changed, and store the engine's health if others may not know it."""
        if not self._hold():
            return
        if error and error != self._error:
            self._log.warning("engine cannot be reached", error=error)
        elif error != self._error:
            self._log.info("engine is watched")
        self._error = error
        if self.info != self._reported:
            self._register()

    def _register(self) -> None:
        """Store the engine's health: the last stored value is the latest, whichever thread reports it."""
        with self._reporting:
            info, self._reported = self.info, None
            self._queue.register(self._worker, [info])
            self._reported = info

    def _keep_watching(self) -> None:
        refusals: set[str] = set()
        while self._held.wait() and not self._stop.is_set():
            try:
                self._engine.watch(self._changed.set, self._released)
                refusals.clear()
            except EngineRefusedError as error:
                if str(error) not in refusals:
                    self._log.warning("engine cannot be watched", error=str(error))
                # A second refusal is permanent, unlike a broken connection: rely on full passes.
                if refusals:
                    self._stop.wait(self._pauses.full_pass_s)
                refusals.add(str(error))
            except TutumdError as error:
                self._log.debug("watching was interrupted", error=str(error))
            except Exception:
                self._log.exception("watching failed")
            self._changed.set()
            self._stop.wait(self._pauses.reconnect_s)
