"""Slots bound how many runs a worker performs at once."""

from threading import Event

from tests.unit.worker.fakes import FakeClock, FakeQueue, make_run
from tutumd.worker.leased_run import LeasedRun
from tutumd.worker.slots import Slots


def test_a_slot_is_free_again_when_its_run_has_ended() -> None:
    slots, go_on = Slots(1), Event()

    def wait(run: LeasedRun) -> None:
        go_on.wait(10)

    run = make_run(FakeQueue(), FakeClock(), journal={})
    assert slots.reserve(0)
    slots.start(run, wait)
    assert slots.runs() == [run]
    assert not slots.reserve(0.01)
    go_on.set()
    assert slots.reserve(10)
    assert slots.runs() == []
