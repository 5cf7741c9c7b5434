"""An engine that does not answer is parked until a probe is answered."""

from threading import Event, Thread
from typing import cast

import pytest
import structlog.testing

from tests.support.waiting import wait_until
from tests.unit.worker.fakes import FakeEngine
from tutumd.errors import EngineUnavailableError
from tutumd.ports.engine import Engine
from tutumd.worker.parking import Parking

AWAY = EngineUnavailableError("no answer")


class Watched:
    """An engine's parking, and what it reported."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.reasons: list[str] = []
        self.stop = Event()
        self.threads: list[Thread] = []
        self.max_threads = 100_000
        self.watch()

    def watch(self) -> None:
        self.parking = Parking(
            cast(Engine, self.engine),
            lambda: self.reasons.append(self.parking.reason),
            self.stop,
            pause_s=0.02,
            start=self.start,
        )

    def start(self, thread: Thread) -> None:
        if len(self.threads) >= self.max_threads:
            raise RuntimeError("can't start new thread")
        self.threads.append(thread)
        thread.start()

    def is_asking(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)


def test_an_engine_that_answers_its_probe_may_be_used_at_once() -> None:
    watched = Watched()
    watched.parking.suspect("one service cannot be read")
    wait_until(lambda: watched.reasons == [""], "it is open")
    assert watched.parking.is_open
    watched.parking.check()


def test_an_engine_that_does_not_answer_is_parked_until_it_does() -> None:
    watched = Watched()
    watched.engine.probe_error = AWAY
    watched.parking.suspect("connection refused")
    wait_until(lambda: watched.reasons, "it is parked")
    assert (watched.parking.is_open, watched.parking.reason) == (False, "no answer")
    with pytest.raises(EngineUnavailableError, match="no answer"):
        watched.parking.check()
    watched.engine.probe_error = None
    wait_until(lambda: watched.reasons == ["no answer", ""], "it reports that it is open again")
    assert watched.parking.is_open


class HangingEngine(FakeEngine):
    """An engine whose first probe hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = Event()
        self.probes = 0

    def probe(self) -> None:
        self.probes += 1
        if self.probes == 1:
            assert self.go_on.wait(120)
            raise AWAY


def test_a_probe_that_hangs_keeps_no_later_one_from_opening_the_engine() -> None:
    watched = Watched()
    watched.engine = engine = HangingEngine()
    watched.watch()
    watched.parking.suspect("timed out")
    assert not watched.parking.is_open
    with pytest.raises(EngineUnavailableError, match="timed out"):
        watched.parking.check()
    wait_until(lambda: watched.parking.is_open, "it is open again")
    engine.go_on.set()
    wait_until(lambda: watched.reasons == [""], "only the answer counts")
    assert watched.parking.is_open


def test_a_probe_with_a_fault_parks_nothing() -> None:
    watched = Watched()
    watched.engine.probe_error = cast(EngineUnavailableError, ValueError("a bug"))
    with structlog.testing.capture_logs() as logged:
        watched.parking.suspect("connection refused")
        wait_until(lambda: watched.parking.is_open, "it is open")
    assert [entry["event"] for entry in logged] == ["probing failed"]


def test_a_worker_that_stops_probes_no_more() -> None:
    watched = Watched()
    watched.engine.probe_error = AWAY
    watched.parking.suspect("connection refused")
    wait_until(lambda: watched.reasons, "it is parked")
    watched.stop.set()
    wait_until(lambda: not watched.is_asking(), "nothing asks any more")
    late = Watched()
    late.engine.probe_error = AWAY
    late.stop.set()
    late.parking.suspect("a look that hung until now has failed")
    wait_until(lambda: not late.is_asking(), "nothing asks for it")


@pytest.mark.parametrize("max_threads", [0, 1])
def test_an_engine_is_not_parked_for_ever_when_the_system_has_no_thread_left(max_threads: int) -> None:
    watched = Watched()
    watched.max_threads = max_threads
    watched.parking.suspect("connection refused")
    wait_until(lambda: watched.parking.is_open, "it is open")
    assert watched.engine.probes == max_threads, "without a thread the next error raises the suspicion again"
