"""Measuring how long something holds, waiting, other attempts after a conflict, and merged output."""

import pytest

from tests.support.runs import FakeRun
from tutumd.engines.rollout.timing import DeniedError, HoldTimer, StaleError, Timing, poll_until, retry_on_conflict
from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError

TIMING = Timing(poll_s=0, jitter=lambda: -0.0999)
"""With next to no pause between attempts."""


def test_a_hold_begins_again_with_each_new_value() -> None:
    seconds = iter((0, 0, 3, 5, 5, 6))
    timer = HoldTimer(lambda: next(seconds))
    assert [timer.seconds(value) for value in ("a", "a", "b", "b")] == [0, 3, 0, 1]


def test_polling_ends_with_the_value_that_is_waited_for_or_at_its_limit() -> None:
    values, seconds = iter(range(10)), iter(range(10))
    assert poll_until(FakeRun(), TIMING, lambda: next(values), lambda value: value == 3, 60) == 3
    timing = Timing(poll_s=0, clock=lambda: next(seconds))
    assert poll_until(FakeRun(), timing, lambda: "as before", lambda value: False, 3) == "as before"


@pytest.mark.parametrize(
    ("error", "failures", "attempts", "raised"),
    [
        (StaleError("changed"), 5, 6, None),
        (DeniedError("no rules yet"), 5, 6, None),
        (StaleError("changed"), 100, 12, EngineUnavailableError),
        (DeniedError("not allowed"), 100, 7, EngineRefusedError),
        (EngineRefusedError("bad"), 100, 1, EngineRefusedError),
    ],
)
def test_a_conflict_and_for_a_while_a_missing_permission_are_tried_again(
    error: Exception, failures: int, attempts: int, raised: type[TutumdError] | None
) -> None:
    made: list[str] = []

    def change() -> str:
        made.append("attempt")
        if len(made) <= failures:
            raise error
        return "changed"

    if raised is None:
        assert retry_on_conflict(FakeRun(), TIMING, change) == "changed"
    else:
        with pytest.raises(raised):
            retry_on_conflict(FakeRun(), TIMING, change)
    assert len(made) == attempts
