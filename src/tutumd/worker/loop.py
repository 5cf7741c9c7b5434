"""The worker's loops: claim actions and requests, renew leases, report and clean up."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from threading import Event

import structlog

from tutumd.boottime import boottime_s
from tutumd.errors import (
    EngineBusyError,
    EngineUnavailableError,
    InvalidInputError,
    LeaseLostError,
    ReasonCode,
    TutumdError,
    UnavailableError,
)
from tutumd.model import EngineRequest, Outcome, RunLimits, Service, ServiceSnapshot
from tutumd.ports import GIVE_UP_AFTER, HEARTBEAT_TIMEOUT, Engine, Queue
from tutumd.threads import Loop, Slots, explain_stuck
from tutumd.worker.discover import Discovery
from tutumd.worker.engine_reads import read_engine
from tutumd.worker.leased_run import LeasedRun, renew_all
from tutumd.worker.perform import delay_after, delay_of_turn, end_unasked, max_faults, perform
from tutumd.worker.trust import JournalSeal

HEARTBEATS_PER_PRUNE = 12
PRUNE_BATCH = 500
LOG_BATCH = 1_000
BATCH_PAUSE_S = 0.05
ENGINE_READERS, MAX_READERS = 4, 16
"""Requests for logs and plans that are answered in parallel. Others wait; the edge gives up on a request after 10 s."""

_POLL_S = 0.5
_INTERNAL_ERROR = "internal error: see the server's log"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """Limits of a worker.

    Attributes:
        server_cap: Maximum number of containers of a service.
        keep: Age at which deliveries and ended actions are deleted.
        keep_audit: Age at which entries of the audit log are deleted.
        run: Limits of one run, unless the service's labels set others.
        engine_slots: Maximum number of parallel runs on one engine instance.
        max_runs: Maximum number of parallel runs in all.
        log_rows, log_bytes: Maximum number and size of a handler's stored deliveries.
        heartbeat_s: Interval of the worker's heartbeats and cleanups.
    """

    server_cap: int
    keep: timedelta = timedelta(days=90)
    keep_audit: timedelta = timedelta(days=365)
    run: RunLimits = field(default_factory=RunLimits)
    engine_slots: int = 16
    max_runs: int = 64
    log_rows: int = 10_000
    log_bytes: int = 64 * 1024 * 1024
    lease: timedelta = timedelta(seconds=10)
    heartbeat_s: float = 5.0


class Worker:
    """Performs the actions of engine instances in a bounded number of threads."""

    def __init__(
        self,
        queue: Queue,
        engines: Mapping[str, Engine],
        limits: WorkerLimits,
        *,
        seal: JournalSeal,
        name: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a worker for engine instances by their names. `start` starts it.

        Args:
            seal: Seal of all workers of this database.
            name: Name of the worker, which no other worker has.
        """
        self.name = name
        self._queue = queue
        self._engines = engines
        self._limits = limits
        self._monotonic = monotonic
        self._seal = seal
        self._stop = Event()
        self._runs_ended = Event()
        self._registered_at = 0.0
        self._beats = 0
        self._has_old_rows = False
        self._slots: Slots[LeasedRun] = Slots(
            engines, per_kind=limits.engine_slots, in_all=limits.max_runs, on_free=queue.wake
        )
        self._discoveries = {
            name: Discovery(self.name, engine, queue, limits.lease, seal=seal) for name, engine in engines.items()
        }
        self._readers: Slots[EngineRequest] = Slots(
            engines, per_kind=ENGINE_READERS, in_all=MAX_READERS, on_free=queue.wake
        )
        self._loops = (
            Loop("claim", self._claim_due, self._stop, monotonic=monotonic),
            Loop("renew", self._renew, self._runs_ended, monotonic=monotonic),
            Loop("housekeeping", self._keep_house, self._stop, monotonic=monotonic),
        )

    def start(self) -> None:
        """Register the engines, and start all threads."""
        self._register()
        for discovery in self._discoveries.values():
            discovery.start()
        for loop in self._loops:
            loop.start()

    def stop(self, grace_s: float) -> None:
        """Stop claiming, give running actions time to end, and release the others for the next worker."""
        self._stop.set()
        self._queue.wake()
        self._loops[0].join(2.0)  # the loop may just have claimed an action, which also needs the grace period
        self._slots.wait_until_empty(grace_s)
        for run in self._slots.tasks():
            run.abandon()
        self._slots.wait_until_empty(2.0)
        self._runs_ended.set()
        self._readers.wait_until_empty(1.0)
        for discovery in self._discoveries.values():
            discovery.stop(1.0)
        for loop in self._loops:
            loop.join(2.0)

    @property
    def state(self) -> str:
        """`ok`, or how long the database has not accepted a heartbeat."""
        age_s = boottime_s() - self._registered_at
        is_alive = age_s <= HEARTBEAT_TIMEOUT.total_seconds()
        return "ok" if is_alive else f"the database has not taken its heartbeat for {age_s:.0f} s"

    @property
    def liveness(self) -> str:
        """As `explain_stuck` of the loops; `ok` while the worker stops."""
        return "ok" if self._stop.is_set() else explain_stuck(self._loops)

    def _is_open(self, engine: str) -> bool:
        return self._discoveries[engine].parking.is_open

    def _claim_due(self) -> None:
        """Claim an action and start its run. If no engine with a free slot has one, respond to requests, and wait."""
        for name in self._slots.free():
            if self._is_open(name) and self._claim([name]):
                return
        # An action that ends without its engine is finished immediately, and needs no free slot.
        closed = [name for name in self._engines if not self._is_open(name)]
        if not closed or not self._claim(closed, are_away=True):
            self._take_requests()
            self._queue.wait(_POLL_S)

    def _claim(self, names: Sequence[str], *, are_away: bool = False) -> bool:
        limits, claimed_at = self._limits, boottime_s()
        claim = self._queue.claim(self.name, names, lease=limits.lease, are_away=are_away)
        if claim is None:
            return False
        run = LeasedRun(
            claim, self._queue, seal=self._seal, lease=limits.lease, limits=limits.run, claimed_at=claimed_at
        )
        self._slots.start(claim.service.engine, run, self._run)
        return True

    def _take_requests(self) -> None:
        """Begin to respond to requests while readers are free; requests for parked engines need no reader."""
        parked = [name for name, discovery in self._discoveries.items() if discovery.parking.reason]
        while free := [*parked, *filter(self._is_open, self._readers.free())]:
            request = next(iter(self._queue.take_requests(free, limit=1)), None)
            if request is None:
                return
            self._readers.start(request.service.engine, request, self._respond)

    def _renew(self) -> None:
        self._runs_ended.wait(min(1.0, self._limits.lease.total_seconds() / 4))
        renew_all(self._queue, self._slots.tasks())

    def _keep_house(self) -> None:
        """Send a heartbeat, count calls and delete old rows, in small batches so that calls do not wait."""
        if self._stop.wait(self._limits.heartbeat_s):
            return
        self._beats += 1
        self._register()
        self._has_old_rows = self._clean_up(prunes=self._has_old_rows or self._beats % HEARTBEATS_PER_PRUNE == 0)

    def _register(self) -> None:
        # The worker that discovers an engine reports its health.
        self._queue.register(
            self.name,
            [engine.info for engine in self._engines.values()],
            has_looked=False,
            slots=min(self._limits.engine_slots, self._limits.max_runs),
        )
        self._registered_at = boottime_s()

    def _clean_up(self, *, prunes: bool) -> bool:
        """Do one batch of each task in turn until nothing is left, or the next heartbeat is due.

        Returns:
            Whether old rows may be left.
        """
        limits = self._limits
        trim = partial(self._queue.trim_logs, LOG_BATCH, log_rows=limits.log_rows, log_bytes=limits.log_bytes)
        prune = partial(self._queue.prune, limits.keep, PRUNE_BATCH, keep_audit=limits.keep_audit)
        tasks: list[Callable[[], bool]] = [self._queue.count_calls, trim, *([prune] if prunes else [])]
        end = self._monotonic() + limits.heartbeat_s
        while (tasks := [do_batch for do_batch in tasks if do_batch()]) and self._monotonic() < end:
            if self._stop.wait(BATCH_PAUSE_S):
                break
        return prune in tasks

    def _run(self, run: LeasedRun) -> None:
        try:
            with structlog.contextvars.bound_contextvars(action=run.action_uuid):
                self._perform(run)
        except LeaseLostError:
            _log.warning("action was released", action=run.action_uuid)
            with suppress(TutumdError):  # the lease ends by itself
                self._queue.release(run.claim)
        except TutumdError as error:
            _log.warning("result was not stored: the action will be repeated", action=run.action_uuid, error=str(error))
        except Exception:
            _log.exception("run failed", action=run.action_uuid)

    def _perform(self, run: LeasedRun) -> None:
        claim = run.claim
        engine, parking = self._engines[claim.service.engine], self._discoveries[claim.service.engine].parking
        _log.info("action began", verb=claim.action.verb, service=claim.service.full_name)
        outcome = end_unasked(run)
        if outcome is not None:
            return self._finish(run, outcome, None)
        try:
            parking.check()
            outcome = perform(run, engine, self._queue, server_cap=self._limits.server_cap)
        except LeaseLostError:
            raise
        except (EngineUnavailableError, UnavailableError) as error:
            is_busy = isinstance(error, EngineBusyError)
            if isinstance(error, EngineUnavailableError) and not is_busy:
                parking.suspect(str(error))
            outcome = end_unasked(run)  # the action may have been canceled in the meantime
            # A half-done action is never given up: it may have parked the old container, which only the action can
            # restore.
            if outcome is None and (run.journal or not claim.is_given_up):
                return self._retry(run, str(error), delay_of_turn() if is_busy else None)
            outcome = outcome or Outcome(
                success=False,
                reason=f"given up after {GIVE_UP_AFTER.total_seconds():.0f} s: {error}",
                reason_code=ReasonCode.ENGINE_UNAVAILABLE,
            )
        except Exception:
            _log.exception("engine failed unexpectedly")
            if claim.attempts + 1 < max_faults(is_half_done=bool(run.journal)):
                return self._retry(run, _INTERNAL_ERROR)
            if claim.leftover is not None:  # otherwise it would also fail every later action
                run.write(lambda: self._queue.save_leftover(claim, {}))
            outcome = Outcome(
                success=False,
                half_done=bool(run.journal),
                reason=_INTERNAL_ERROR,
                reason_code=ReasonCode.INTERNAL,
            )
        return self._finish(run, outcome, _inspect(engine, claim.service) if parking.is_open else None)

    def _retry(self, run: LeasedRun, error: str, delay: timedelta | None = None) -> None:
        delay = delay or delay_after(run.claim.attempts)
        _log.warning("action will be retried", in_s=delay.total_seconds(), error=error)
        run.write(lambda: self._queue.retry_later(run.claim, delay=delay, error=error))

    def _finish(self, run: LeasedRun, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        claim, service = run.claim, run.claim.service
        outcome = self._seal.seal_image(service.engine, service.selector, outcome)
        sealed = snapshot and self._seal.seal_image(service.engine, service.selector, snapshot)
        run.write(lambda: self._queue.finish(claim, outcome, sealed))
        self._discoveries[service.engine].action_ended()
        log = _log.info if outcome.success else _log.error
        log(
            "action ended",
            verb=claim.action.verb,
            service=service.full_name,
            success=outcome.success,
            reason=outcome.reason,
        )

    def _respond(self, request: EngineRequest) -> None:
        response: dict[str, object]
        try:
            self._discoveries[request.service.engine].parking.check()
            response = read_engine(self._engines[request.service.engine], request, self._seal)
        except InvalidInputError as error:
            response = {"invalid": str(error)}
        except TutumdError as error:
            response = {"error": str(error)}
        except Exception:
            _log.exception("engine request failed", kind=request.kind, service=request.service.full_name)
            response = {"error": _INTERNAL_ERROR}
        try:
            self._queue.save_response(request.uuid, response)
        except TutumdError as error:
            _log.warning("response was not stored", kind=request.kind, error=str(error))


def _inspect(engine: Engine, service: Service) -> ServiceSnapshot | None:
    """Return the current snapshot of the service; None if it cannot be read, which the next discovery will do."""
    try:
        return engine.inspect(service)
    except Exception:
        return None
