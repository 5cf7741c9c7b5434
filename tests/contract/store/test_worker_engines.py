"""A real worker on a real database, with engines that hang, go away, come back, or kill it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import cast

import pytest

from tests.support.runs import SEAL
from tests.support.stores import StoreBed, snapshot
from tests.support.waiting import wait_until
from tutumd.application import services
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import Action, ActionState, EngineInfo, Outcome, Output, Service, ServiceSnapshot
from tutumd.ports.engine import Engine, Run
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore
from tutumd.worker.loop import Worker, WorkerLimits

JOURNAL = {"phase": "swap"}
SLOTS = 3


def now() -> datetime:
    return datetime.now(UTC)


class Host:
    """An engine that can be away. While it hangs, a call waits until the test ends it, as a time limit does."""

    def __init__(self, name: str, *names: str) -> None:
        self.info = EngineInfo(name=name, kind="docker", can_create=False)
        self.names = names
        self.is_away = False
        self.hanging: threading.Event | None = None
        self.saves = False
        self.permits: threading.Semaphore | None = None
        self.undo_error: Exception | None = None
        self.probes = 0
        self.asked: list[str] = []
        self.runs: list[Run] = []
        self.undone: list[tuple[str, dict[str, object], float]] = []

    def hang(self) -> threading.Event:
        """Hang until the returned event is set; then the calls time out, and the host is away."""
        self.hanging = threading.Event()
        return self.hanging

    def come_back(self) -> None:
        self.hanging, self.is_away = None, False

    def probe(self) -> None:
        self.probes += 1
        if self.is_away or self.hanging:
            raise EngineUnavailableError("cannot reach the engine")

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        self._ask("discover")
        return tuple(snapshot(name) for name in self.names)

    def watch(self, changed: Callable[[], None], stop: threading.Event) -> None:
        stop.wait(1)

    def inspect(self, service: Service) -> ServiceSnapshot:
        self._ask("inspect", service)
        return snapshot(service.name)

    def logs(self, service: Service, lines: int, after: Mapping[str, str] | None = None) -> Output:
        self._ask("logs", service)
        return Output(text="lines", position=after or {"web-1": "5"})

    def redeploy(self, service: Service, run: Run) -> Outcome:
        self.runs.append(run)
        if run.journal and run.remaining_s() == 0:
            self._ask("undo", service)
            self.undone.append((run.action_uuid, dict(run.journal), run.remaining_s()))
            run.save({"phase": "restore"})
            if self.undo_error:
                raise self.undo_error
            return Outcome(success=False, reason="put back")
        if self.saves:
            run.save(JOURNAL)
        self._ask("redeploy", service)
        if self.permits:
            assert self.permits.acquire(timeout=300)
        return Outcome(success=True)

    def _ask(self, what: str, service: Service | None = None) -> None:
        if service:
            self.asked.append(f"{what} {service.name}")
        if self.hanging:
            assert self.hanging.wait(300)
            raise EngineUnavailableError("the engine did not respond in time")
        if self.is_away:
            raise EngineUnavailableError("connection refused")


class Bed:
    """A worker, and a store whose clock goes."""

    def __init__(self, stored: StoreBed, database: Database) -> None:
        self.admin = stored.admin
        self.stored = stored
        self.store = SqlStore(database, now, Wakeup())

    def call(self, name: str) -> str:
        handler = self.stored.handler(name)
        return self.stored.call(handler)

    def action(self, uuid: str) -> Action:
        return self.store.action(self.admin, uuid)

    def wait_for(self, uuid: str, *states: ActionState) -> Action:
        wait_until(lambda: self.action(uuid).state in states, f"the action is {states}")
        return self.action(uuid)

    def service(self, name: str) -> str:
        return self.stored.service_uuid(name)


@contextmanager
def working(stored: StoreBed, url: str, *hosts: Host, max_runs: int = 64) -> Iterator[Bed]:
    """Run a worker that serves these hosts, once the store has their services."""
    database = Database(url)
    for host in hosts:
        stored.queue.sync(host.info, [snapshot(name) for name in host.names], revisions={})
    engines = {host.info.name: cast(Engine, host) for host in hosts}
    limits = WorkerLimits(server_cap=100, engine_slots=SLOTS, max_runs=max_runs)
    worker = Worker(SqlQueue(database, now, Wakeup()), engines, limits, seal=SEAL, name="worker")
    others = set(threading.enumerate())
    worker.start()
    try:
        yield Bed(stored, database)
    finally:
        for host in hosts:
            if host.hanging:
                host.hanging.set()
        worker.stop(60)
        for thread in set(threading.enumerate()) - others:
            thread.join(120)  # one that a host held up would open another connection
        database.close()


def services_of(count: int) -> list[str]:
    return [f"s{number}" for number in range(count)]


def asked(host: Host, what: str) -> set[str]:
    return {line.partition(" ")[2] for line in host.asked if line.startswith(what)}


@pytest.mark.slow
def test_an_engine_that_hangs_holds_up_no_other(bed: StoreBed, database_url: str) -> None:
    hung, healthy = Host("hung", *services_of(24)), Host("healthy", "api")
    with working(bed, database_url, hung, healthy) as running:
        hung.hang()
        for name in hung.names:
            running.call(name)
        wait_until(lambda: len(asked(hung, "inspect")) == SLOTS, "the slots of the engine that hangs are taken")
        action = running.call("api")
        assert running.wait_for(action, ActionState.SUCCESS)
        assert len(asked(hung, "inspect")) == SLOTS


def test_at_the_cap_the_next_slot_is_of_the_engine_without_a_run(bed: StoreBed, database_url: str) -> None:
    busy, other = Host("busy", *services_of(10)), Host("other", "api")
    with working(bed, database_url, busy, other, max_runs=2) as running:
        busy.permits = threading.Semaphore(0)
        for name in busy.names:
            running.call(name)
        wait_until(lambda: len(asked(busy, "redeploy")) == 2, "all slots are taken")
        action = running.call("api")
        busy.permits.release()
        running.wait_for(action, ActionState.SUCCESS)
        # A third run begins only when the other engine needs its slot no more.
        wait_until(lambda: len(asked(busy, "redeploy")) == 3, "the slot is taken again")
        busy.permits.release(len(busy.names))


def test_a_run_that_hangs_before_it_changed_anything_ends_canceled(bed: StoreBed, database_url: str) -> None:
    hung = Host("hung", "web1")
    with working(bed, database_url, hung) as running:
        go_on = hung.hang()
        action = running.call("web1")
        wait_until(lambda: hung.asked, "the engine is asked")
        running.store.cancel(running.admin, action)
        go_on.set()
        assert running.wait_for(action, ActionState.CANCELED)
        assert hung.asked == ["inspect web1"]


def half_done(running: Bed, host: Host) -> tuple[str, threading.Event]:
    """Let a redeploy hang after it changed something; return the action, and an event that ends the engine call."""
    host.saves = True
    go_on = threading.Event()

    def begin(service: Service, run: Run) -> Outcome:
        run.save(JOURNAL)
        host.hanging = go_on
        host._ask("redeploy", service)
        raise AssertionError("it hung")

    redeploy, host.redeploy = host.redeploy, begin  # type: ignore[method-assign]
    action = running.call(host.names[0])
    wait_until(lambda: asked(host, "redeploy"), "the run hangs")
    host.redeploy = redeploy  # type: ignore[method-assign]
    return action, go_on


@pytest.mark.slow
def test_an_abandoned_run_is_undone_before_the_next_action_begins(bed: StoreBed, database_url: str) -> None:
    host = Host("host", "web1")
    with working(bed, database_url, host) as running:
        abandoned, go_on = half_done(running, host)
        running.store.cancel(running.admin, abandoned)
        go_on.set()
        wait_until(lambda: "an admin abandons it" in running.action(abandoned).reason, "it says what it waits for")
        assert running.action(abandoned).state is ActionState.CANCELING
        ended = running.store.abandon(running.admin, abandoned)
        assert (ended.state, ended.reason[:15]) == (ActionState.FAILED, "left half done:")
        following = running.call("web1")
        host.saves = False
        host.come_back()
        assert running.wait_for(following, ActionState.SUCCESS)
        assert host.undone == [(abandoned, JOURNAL, 0.0)]
        lines = [line.text for line in running.store.log_lines(running.admin, following, 0)]
        assert lines == [f"cleaning up what the action {abandoned} left half done", "cleared up: put back"]
        assert running.wait_for(running.call("web1"), ActionState.SUCCESS)
        assert len(host.undone) == 1
        assert running.action(abandoned) == ended


def test_an_engine_that_refuses_to_clear_up_is_left_as_it_is(bed: StoreBed, database_url: str) -> None:
    host = Host("host", "web1")
    with working(bed, database_url, host) as running:
        abandoned, go_on = half_done(running, host)
        running.store.abandon(running.admin, abandoned)
        host.undo_error = EngineRefusedError("web1 is gone")
        host.saves = False
        host.come_back()
        go_on.set()
        following = running.call("web1")
        assert running.wait_for(following, ActionState.SUCCESS)
        assert "cleared up: web1 is gone" in [
            line.text for line in running.store.log_lines(running.admin, following, 0)
        ]


def test_logs_of_an_engine_that_hangs_take_few_threads_and_hold_up_no_other(bed: StoreBed, database_url: str) -> None:
    hung, healthy = Host("hung", "web1"), Host("healthy", "api")
    with working(bed, database_url, hung, healthy) as running:
        hung.hang()
        service = running.store.service(running.admin, running.service("web1"))
        for _ in range(20):
            running.store.add_request(service, "logs", {"lines": 1})
        wait_until(lambda: hung.asked, "the engine is asked")
        assert services.logs(running.store, running.admin, running.service("api"), 5).text == "lines"
        assert len(hung.asked) <= 4
