"""An engine that does not answer is parked until a probe is answered."""

import threading
from threading import Event
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
        self.parking = Parking(
            cast(Engine, self.engine), lambda _: self.reasons.append(self.parking.reason), self.stop, pause_s=0.02
        )


def is_asking() -> bool:
    return any(thread.name.startswith("probe ") for thread in threading.enumerate())


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


def test_an_engine_may_not_be_used_before_its_probe_was_answered() -> None:
    go_on = Event()
    watched = Watched()
    watched.engine.probe = go_on.wait  # type: ignore[method-assign, assignment] # of this engine
    watched.parking.suspect("timed out")
    with pytest.raises(EngineUnavailableError, match="timed out"):
        watched.parking.check()
    go_on.set()
    wait_until(lambda: watched.reasons == [""], "it is open again")
    watched.parking.check()


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
    wait_until(lambda: not is_asking(), "nothing asks any more")
    late = Watched()
    late.engine.probe_error = AWAY
    late.stop.set()
    late.parking.suspect("a look that hung until now has failed")
    wait_until(lambda: not is_asking(), "nothing asks for it")
