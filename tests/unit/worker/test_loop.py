"""What a worker does with an action that it claims while it stops, and with one whose engine has a fault."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import cast

from tests.support.services import service_row
from tests.support.stores import snapshot
from tests.support.waiting import wait_until
from tests.unit.worker.fakes import FakeClock, FakeEngine, FakeQueue, make_run
from tutumd.model import Claim, EngineRequest, Outcome, Service, ServiceSnapshot
from tutumd.ports.engine import Engine, Run
from tutumd.ports.queue import Queue
from tutumd.worker.loop import Worker, WorkerLimits
from tutumd.worker.retry import max_faults

WEB = service_row(engine="docker", selector="web")


class ActionQueue(FakeQueue):
    """A queue with one action. While it is asked for it, the worker is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []
        self.claims: list[Claim] = []
        self.asked = Event()
        self.woken = Event()

    def claim(
        self, worker: str, names: Sequence[str], *, lease: timedelta, given_up_before: datetime | None = None
    ) -> Claim | None:
        self.asked.set()
        assert self.woken.wait(30)
        return self.claims.pop() if self.claims else None

    def wake(self) -> None:
        self.woken.set()

    def wait(self, timeout_s: float) -> None:
        """Do nothing: the worker stops."""

    def take_requests(self, names: Sequence[str], limit: int = 100) -> tuple[EngineRequest, ...]:
        return ()

    def finish(self, claim: Claim, outcome: Outcome, snapshot: ServiceSnapshot | None) -> None:
        self.outcomes.append(outcome)


class FaultyEngine(FakeEngine):
    def redeploy(self, service: Service, run: Run) -> Outcome:
        raise ValueError("a bug")


def make_claim(queue: FakeQueue, journal: Mapping[str, object]) -> Claim:
    return make_run(queue, FakeClock(), service=WEB, journal=journal).claim


def make_worker(queue: ActionQueue, engine: FakeEngine) -> Worker:
    limits = WorkerLimits(server_cap=1)
    return Worker(cast(Queue, queue), {"docker": cast(Engine, engine)}, limits, lambda: datetime.now(UTC))


def test_an_action_that_is_claimed_while_the_worker_stops_may_end() -> None:
    queue = ActionQueue()
    queue.claims.append(make_claim(queue, {"phase": "swap"}))
    worker = make_worker(queue, FakeEngine())
    worker.start()
    wait_until(queue.asked.is_set, "it claims")
    worker.stop(30)
    assert [outcome.reason for outcome in queue.outcomes] == ["the engine ends {'phase': 'swap'}"]


def test_a_fault_that_ends_a_half_done_action_leaves_its_journal_to_the_next_one() -> None:
    for journal in ({"phase": "swap"}, {}):
        queue = ActionQueue()
        run = make_run(queue, FakeClock(), service=WEB, journal=journal)
        run.claim = replace(run.claim, attempts=max_faults(is_half_done=bool(journal)))
        engine = FaultyEngine()
        engine.snapshot = snapshot("web")
        make_worker(queue, engine)._perform(run)
        assert [(outcome.success, outcome.half_done) for outcome in queue.outcomes] == [(False, bool(journal))]
