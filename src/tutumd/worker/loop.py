"""The worker's loop: claim, perform, finish; renew leases; answer request rows."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from threading import BoundedSemaphore, Event, Lock, Thread

import structlog

from tutumd.boottime import boottime_s
from tutumd.errors import EngineUnavailableError, LeaseLostError, TutumdError, UnavailableError
from tutumd.model import EngineRequest, Outcome, Service, ServiceSnapshot
from tutumd.ports import Clock, Engine, Queue
from tutumd.worker import retry
from tutumd.worker.discover import Discovery
from tutumd.worker.leased_run import LeasedRun
from tutumd.worker.perform import perform, plan, refused

LEASE = timedelta(seconds=10)
MAX_RUNS = 16
DEADLINE_S = 120.0
HEARTBEAT_S = 5.0
PRUNE_BEATS = 12
PRUNE_BATCH = 500
PRUNE_PAUSE_S = 0.05
_POLL_S = 0.5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """What a worker keeps to.

    Attributes:
        keep: How long deliveries and ended actions are kept.
        deadline_s: Seconds that the engine work of one action may take.
    """

    server_cap: int
    keep: timedelta = timedelta(days=90)
    deadline_s: float = DEADLINE_S
    lease: timedelta = LEASE


class Worker:
    """Performs the actions of some engine instances, in threads, a bounded number at once."""

    def __init__(self, queue: Queue, engines: Mapping[str, Engine], limits: WorkerLimits, clock: Clock) -> None:
        """Take the queue and the engine instances by name; nothing starts yet."""
        self.name = str(uuid.uuid4())
        self._queue = queue
        self._engines = engines
        self._limits = limits
        self._clock = clock
        self._stop = Event()
        self._free = BoundedSemaphore(MAX_RUNS)
        self._runs: set[LeasedRun] = set()
        self._lock = Lock()
        self._discoveries = {name: Discovery(self.name, engine, queue) for name, engine in engines.items()}
        self._threads = [
            Thread(target=self._claim_for_ever, name="claim", daemon=True),
            Thread(target=self._renew_for_ever, name="renew", daemon=True),
            Thread(target=self._tidy_for_ever, name="tidy", daemon=True),
        ]

    def start(self) -> None:
        """Register the engines and begin."""
        self._queue.register(self.name, [engine.info for engine in self._engines.values()])
        for discovery in self._discoveries.values():
            discovery.start()
        for thread in self._threads:
            thread.start()

    def stop(self, grace_s: float) -> None:
        """Claim nothing more, let running actions end within the grace, hand the others over."""
        self._stop.set()
        deadline = time.monotonic() + grace_s
        while self._running() and time.monotonic() < deadline:
            time.sleep(0.05)
        for run in self._running():
            run.abandon()
        end = time.monotonic() + 2.0
        while self._running() and time.monotonic() < end:
            time.sleep(0.05)
        for discovery in self._discoveries.values():
            discovery.stop(1.0)
        for thread in self._threads:
            thread.join(2.0)

    def _running(self) -> list[LeasedRun]:
        with self._lock:
            return list(self._runs)

    def _claim_for_ever(self) -> None:
        names = list(self._engines)
        while not self._stop.is_set():
            try:
                while self._claim_one(names):
                    pass
                for request in self._queue.take_requests(names):
                    self._in_thread(partial(self._respond, request))
                self._queue.wait(_POLL_S)
            except UnavailableError as error:
                _log.warning("the queue cannot be read", error=str(error))
                self._stop.wait(1.0)
            except Exception:
                _log.exception("claiming failed")
                self._stop.wait(1.0)

    def _claim_one(self, names: list[str]) -> bool:
        if self._stop.is_set() or not self._free.acquire(timeout=_POLL_S):
            return False
        claimed = False
        try:
            claimed_at = boottime_s()
            claim = self._queue.claim(self.name, names, lease=self._limits.lease)
            if claim is None:
                return False
            run = LeasedRun(
                claim,
                self._queue,
                lease=self._limits.lease,
                deadline_s=self._limits.deadline_s,
                claimed_at=claimed_at,
            )
            with self._lock:
                self._runs.add(run)
            self._in_thread(partial(self._run, run))
            claimed = True
        finally:
            if not claimed:
                self._free.release()
        return True

    def _in_thread(self, target: Callable[[], None]) -> None:
        Thread(target=target, daemon=True).start()

    def _renew_for_ever(self) -> None:
        interval = min(1.0, self._limits.lease.total_seconds() / 4)
        while not self._stop.wait(interval) or self._running():
            for run in self._running():
                try:
                    run.renew()
                except Exception:
                    _log.exception("renewing failed", action=run.action_uuid)
            if self._stop.is_set():
                time.sleep(min(0.2, interval))

    def _tidy_for_ever(self) -> None:
        """Tell that the worker lives, and delete what is old in small parts, so that calls are not held up."""
        beats = 0
        has_more = False
        while not self._stop.wait(HEARTBEAT_S):
            beats += 1
            try:
                self._queue.register(self.name, [discovery.info for discovery in self._discoveries.values()])
                self._repeat(self._queue.count_calls)
                if has_more or beats % PRUNE_BEATS == 0:
                    has_more = self._repeat(lambda: self._queue.prune(self._limits.keep, PRUNE_BATCH))
            except UnavailableError as error:
                _log.warning("the database cannot be tidied", error=str(error))
            except Exception:
                _log.exception("tidying failed")

    def _repeat(self, do_part: Callable[[], int]) -> bool:
        """Do what is done in parts, until it is time for the next heartbeat; answers whether more may be left."""
        end = time.monotonic() + HEARTBEAT_S
        while do_part():
            if time.monotonic() > end or self._stop.wait(PRUNE_PAUSE_S):
                return True
        return False

    def _run(self, run: LeasedRun) -> None:
        try:
            self._perform(run)
        except LeaseLostError:
            self._hand_over(run)
        except TutumdError as error:
            _log.warning("an action could not be ended: it will be taken up again", error=str(error))
        except Exception:
            _log.exception("an action failed in a way that was not foreseen", action=run.action_uuid)
        finally:
            with self._lock:
                self._runs.remove(run)
            self._free.release()

    def _perform(self, run: LeasedRun) -> None:
        claim = run.claim
        engine = self._engines[claim.service.engine]
        _log.info("action began", action=run.action_uuid, verb=claim.action.verb, service=claim.service.name)
        try:
            outcome = perform(run, engine, self._queue, server_cap=self._limits.server_cap)
        except LeaseLostError:
            raise
        except (EngineUnavailableError, UnavailableError) as error:
            if not retry.is_given_up(claim.action, self._clock(), is_half_done=bool(run.journal)):
                self._retry(run, str(error))
                return
            outcome = refused(f"given up after {retry.GIVE_UP_AFTER.total_seconds():.0f} s: {error}", None)
        except Exception:
            _log.exception("an engine failed in a way that was not foreseen", action=run.action_uuid)
            if claim.attempts + 1 < retry.most_faults(is_half_done=bool(run.journal)):
                self._retry(run, "internal error: see the server's log")
                return
            outcome = refused("internal error: see the server's log", None)
        self._finish(run, outcome, engine)

    def _retry(self, run: LeasedRun, reason: str) -> None:
        claim = run.claim
        delay = retry.delay_after(claim.attempts)
        _log.warning("action will be tried again", action=claim.action.uuid, in_s=delay.total_seconds(), error=reason)
        told = f"waiting for another try: {reason}"
        _store(run, lambda: self._queue.retry_later(claim, delay=delay, reason=told))

    def _finish(self, run: LeasedRun, outcome: Outcome, engine: Engine) -> None:
        claim = run.claim
        snapshot = _look(engine, claim.service)
        _store(run, lambda: self._queue.finish(claim, outcome, snapshot))
        self._discoveries[claim.service.engine].action_ended()
        log = _log.info if outcome.success else _log.error
        log(
            "action ended",
            action=run.action_uuid,
            verb=claim.action.verb,
            service=claim.service.name,
            success=outcome.success,
            reason=outcome.reason,
        )

    def _hand_over(self, run: LeasedRun) -> None:
        _log.warning("action was handed over", action=run.action_uuid)
        try:
            self._queue.release(run.claim)
        except TutumdError as error:
            _log.debug("the lease was not released", action=run.action_uuid, error=str(error))

    def _respond(self, request: EngineRequest) -> None:
        response: dict[str, object]
        try:
            engine = self._engines[request.service.engine]
            if request.kind == "plan":
                response = {"plan": asdict(plan(engine, request.service))}
            else:
                lines = request.arguments.get("lines")
                response = {"logs": engine.logs(request.service, lines if isinstance(lines, int) else 100)}
        except TutumdError as error:
            response = {"error": str(error)}
        except Exception:
            _log.exception("engine request failed", kind=request.kind, service=request.service.name)
            response = {"error": "internal error: see the server's log"}
        try:
            self._queue.save_response(request.uuid, response)
        except TutumdError as error:
            _log.warning("response was not stored", kind=request.kind, error=str(error))


def _store(run: LeasedRun, write: Callable[[], None]) -> None:
    """Write what became of a run, again and again within the lease while the database cannot take it."""
    while True:
        try:
            write()
        except UnavailableError:
            run.sleep(_POLL_S)
            continue
        return


def _look(engine: Engine, service: Service) -> ServiceSnapshot | None:
    try:
        return engine.inspect(service)
    except Exception:
        return None
