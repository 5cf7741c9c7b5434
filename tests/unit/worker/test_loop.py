"""What a worker does with an action that it claims while it stops, and with one whose engine has a fault."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import cast

from tests.support.runs import SEAL
from tests.support.services import service_row
from tests.support.stores import snapshot
from tests.support.waiting import wait_until
from tests.unit.worker.fakes import FakeClock, FakeEngine, FakeQueue, make_run
from tutumd.errors import EngineBusyError, UnavailableError
from tutumd.model import Claim, EngineRequest, ImageFacts, Outcome, Service, ServiceSnapshot
from tutumd.ports.engine import Engine, Run
from tutumd.ports.queue import Queue
from tutumd.threads import STUCK_S
from tutumd.worker.loop import Worker, WorkerLimits
from tutumd.worker.perform import max_faults

WEB = service_row(engine="docker", selector="web")


class ActionQueue(FakeQueue):
    """A queue with one action. While it is asked for it, the worker is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []
        self.ends: list[tuple[Outcome, ServiceSnapshot | None]] = []
        self.claims: list[Claim] = []
        self.asked = Event()
        self.woken = Event()

    def claim(self, worker: str, names: Sequence[str], *, lease: timedelta, are_away: bool = False) -> Claim | None:
        self.asked.set()
        assert self.woken.wait(120)
        return self.claims.pop() if self.claims else None

    def wake(self) -> None:
        self.woken.set()

    def wait(self, timeout_s: float) -> None:
        """Do nothing: the worker stops."""

    def take_requests(self, names: Sequence[str], limit: int = 100) -> tuple[EngineRequest, ...]:
        return ()

    def finish(self, claim: Claim, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        self.outcomes.append(outcome)
        self.ends.append((outcome, snapshot))


class BuildEngine(FakeEngine):
    """Runs an image that no registry has."""

    def redeploy(self, service: Service, run: Run) -> Outcome:
        return Outcome(success=True, image=ImageFacts(image_id="sha256:1"))


class FaultyEngine(FakeEngine):
    def redeploy(self, service: Service, run: Run) -> Outcome:
        raise ValueError("a bug")


def make_claim(queue: FakeQueue, journal: Mapping[str, object]) -> Claim:
    return make_run(queue, FakeClock(), service=WEB, journal=journal).claim


def make_worker(queue: ActionQueue, engine: FakeEngine, monotonic: Callable[[], float] = time.monotonic) -> Worker:
    limits, engines = WorkerLimits(server_cap=1, heartbeat_s=0.05), {"docker": cast(Engine, engine)}
    return Worker(cast(Queue, queue), engines, limits, seal=SEAL, name="worker", monotonic=monotonic)


def test_an_action_that_is_claimed_while_the_worker_stops_may_end() -> None:
    queue = ActionQueue()
    queue.claims.append(make_claim(queue, {"phase": "swap"}))
    worker = make_worker(queue, FakeEngine())
    worker.start()
    wait_until(queue.asked.is_set, "it claims")
    worker.stop(30)
    assert [outcome.reason for outcome in queue.outcomes] == ["the engine ends {'phase': 'swap'}"]


def test_an_image_without_a_digest_is_stored_with_a_seal() -> None:
    queue, engine = ActionQueue(), BuildEngine()
    engine.snapshot = replace(snapshot("web"), selector=WEB.selector, image=ImageFacts(image_id="sha256:1"))
    queue.claims.append(make_claim(queue, {}))
    worker = make_worker(queue, engine)
    worker.start()
    wait_until(queue.asked.is_set, "it claims")
    worker.stop(30)
    sealed = ImageFacts(image_id="sha256:1", seal=SEAL.sign_image("docker", WEB.selector, "sha256:1"))
    assert [(outcome.image, seen and seen.image) for outcome, seen in queue.ends] == [(sealed, sealed)]


def test_a_fault_that_ends_a_half_done_action_leaves_its_journal_to_the_next_one() -> None:
    for journal in ({"phase": "swap"}, {}):
        queue = ActionQueue()
        run = make_run(queue, FakeClock(), service=WEB, journal=journal)
        run.claim = replace(run.claim, attempts=max_faults(is_half_done=bool(journal)))
        engine = FaultyEngine()
        engine.snapshot = snapshot("web")
        queue.claims.append(run.claim)
        worker = make_worker(queue, engine)
        worker.start()
        wait_until(queue.asked.is_set, "it claims")
        worker.stop(30)
        assert [(outcome.reason_code, outcome.half_done) for outcome in queue.outcomes] == [("internal", bool(journal))]


class AwayQueue(FakeQueue):
    """A queue whose database is away once `error` is set."""

    def claim(self, *arguments: object, **limits: object) -> None:
        self._fail()

    def take_requests(self, names: Sequence[str], limit: int = 100) -> tuple[EngineRequest, ...]:
        self._fail()
        return ()

    def wait(self, timeout_s: float) -> None:
        """Do nothing: the next claim comes at once."""


def test_a_worker_whose_database_is_away_lives() -> None:
    queue, monotonic = AwayQueue(), FakeClock()
    limits = WorkerLimits(server_cap=1, heartbeat_s=0.05, lease=timedelta(seconds=0.2))
    worker = Worker(cast(Queue, queue), {}, limits, seal=SEAL, name="worker", monotonic=monotonic)
    worker.start()
    try:
        queue.error = UnavailableError("the database is away")
        monotonic.now += 2 * STUCK_S
        wait_until(lambda: worker.liveness == "ok", "all loops go round")
    finally:
        worker.stop(0)


def test_a_worker_with_a_loop_that_hangs_does_not_live() -> None:
    queue, monotonic = ActionQueue(), FakeClock()
    worker = make_worker(queue, FakeEngine(), monotonic)
    worker.start()
    try:
        wait_until(queue.asked.is_set, "its claim hangs")
        assert worker.liveness == "ok"
        monotonic.now += 2 * STUCK_S
        wait_until(lambda: worker.liveness == f"stuck: claim for {2 * STUCK_S:.0f} s", "the hanging loop is told")
    finally:
        worker.stop(0)
    assert worker.liveness == "ok", "a worker that stops is not stuck"


def test_an_action_whose_service_is_in_use_waits_for_its_turn_and_parks_no_engine() -> None:
    class Busy(FakeEngine):
        def redeploy(self, service: Service, run: Run) -> Outcome:
            raise EngineBusyError("busy: another tutumd is redeploying web")

    class Retried(ActionQueue):
        def retry_later(self, claim: Claim, *, delay: timedelta, error: str) -> None:
            retries.append((delay, error))

    retries: list[tuple[timedelta, str]] = []
    queue, engine = Retried(), Busy()
    # However often it was tried, it looks again within seconds: else an action that has just come would be before it.
    queue.claims.append(replace(make_claim(queue, {"phase": "pull"}), attempts=40))
    worker = make_worker(queue, engine)
    worker.start()
    wait_until(queue.asked.is_set, "it claims")
    worker.stop(30)
    ((delay, error),) = retries
    assert timedelta() < delay <= timedelta(seconds=3)
    assert error == "busy: another tutumd is redeploying web"
    assert engine.probes == 0
