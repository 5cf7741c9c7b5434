"""Waiting, and measuring how long something holds."""

from tests.support.runs import FakeRun
from tutumd.engines.rollout.timing import HoldTimer, Timing, poll_until


class FakeClock:
    """Advances by a second at each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_a_hold_begins_again_with_each_new_value() -> None:
    clock = FakeClock()
    timer = HoldTimer(clock)
    timer.seconds("a")
    first = timer.seconds("a")
    assert timer.seconds("a") > first > 0
    assert timer.seconds("b") <= first


def test_polling_ends_with_the_value_that_is_waited_for() -> None:
    values = iter(range(10))
    assert poll_until(FakeRun(), Timing(poll_s=0), lambda: next(values), lambda value: value == 3, 60) == 3


def test_polling_ends_at_its_limit() -> None:
    timing = Timing(poll_s=0, clock=FakeClock())
    assert poll_until(FakeRun(), timing, lambda: "as before", lambda value: False, 3) == "as before"
