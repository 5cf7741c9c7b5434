"""How long a run may take: in all, without progress, and for a pull."""

from typing import Any

import pytest

from tests.unit.worker.fakes import FakeClock
from tutumd.errors import code_of
from tutumd.model import RunLimits
from tutumd.worker.leased_run import Deadlines

LIMITS = RunLimits(timeout_s=3600, stall_s=120, pull_s=1800)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def deadlines(clock: FakeClock) -> Deadlines:
    return Deadlines(LIMITS, clock)


def test_a_run_without_progress_ends(deadlines: Deadlines, clock: FakeClock) -> None:
    clock.now += 119
    assert (deadlines.remaining_s(), deadlines.reason()) == (1, "")
    clock.now += 1
    assert (deadlines.remaining_s(), deadlines.reason()) == (0, "there was no progress for 120 s")
    assert code_of(deadlines.reason()) == "no-progress"


def test_progress_starts_the_clock_again_up_to_the_limit_in_all(deadlines: Deadlines, clock: FakeClock) -> None:
    for ready in range(1, 36):
        clock.now += 100
        deadlines.advance("ready", ready)
        assert deadlines.remaining_s() == min(120, 3600 - 100 * ready)
    clock.now += 100
    deadlines.advance("ready", 36)
    assert (deadlines.remaining_s(), deadlines.reason()) == (0, "the action did not end within 3600 s")


def test_what_was_reached_before_is_no_progress(deadlines: Deadlines, clock: FakeClock) -> None:
    deadlines.advance("ready", 2)
    for ready in (1, 2, 0, 2):
        clock.now += 30
        deadlines.advance("ready", ready)
    assert deadlines.reason() == "there was no progress for 120 s"


def test_each_kind_of_progress_has_a_mark_of_its_own(deadlines: Deadlines, clock: FakeClock) -> None:
    deadlines.advance("started", 5)
    clock.now += 100
    deadlines.advance("ready", 1)
    assert deadlines.remaining_s() == 120


def test_a_pull_has_a_limit_of_its_own_and_its_time_does_not_count(deadlines: Deadlines, clock: FakeClock) -> None:
    clock.now += 50
    with deadlines.pulling():
        clock.now += 1799
        assert (deadlines.remaining_s(), deadlines.reason()) == (1, "")
        clock.now += 1
        assert (deadlines.remaining_s(), deadlines.reason()) == (0, "the pull did not end within 1800 s")
    assert deadlines.remaining_s() == 120
    for ready in range(1, 36):
        clock.now += 100
        deadlines.advance("ready", ready)
    clock.now += 49
    assert (deadlines.remaining_s(), deadlines.reason()) == (1, "")
    clock.now += 1
    assert deadlines.reason() == "the action did not end within 3600 s"
    assert code_of(deadlines.reason()) == "timeout"


def test_a_pull_that_fails_ends_too(deadlines: Deadlines, clock: FakeClock) -> None:
    with pytest.raises(OSError, match="reset"), deadlines.pulling():
        raise OSError("reset")
    clock.now += 120
    assert deadlines.reason() == "there was no progress for 120 s"


def test_new_limits_count_from_the_begin(deadlines: Deadlines, clock: FakeClock) -> None:
    clock.now += 100
    deadlines.limits = RunLimits(timeout_s=3600, stall_s=60)
    assert deadlines.reason() == "there was no progress for 60 s"


@pytest.mark.parametrize(
    ("asked", "timeout_s", "stall_s"),
    [
        ({}, 3600, 120),
        ({"least_stall_s": 60}, 3600, 120),
        ({"least_stall_s": 600}, 3600, 600),
        ({"stall_s": 30, "least_stall_s": 600}, 3600, 30),
        ({"timeout_s": 7200, "least_stall_s": 600}, 7200, 600),
        ({"stall_s": 30, "least_stall_s": 600, "is_pulling": True}, 3600, 1800),
        ({"least_stall_s": 2400, "is_pulling": True}, 3600, 2400),
        # Not longer than the limit in all.
        ({"timeout_s": 60}, 60, 60),
        ({"least_stall_s": 2147483647}, 3600, 3600),
    ],
)
def test_labels_win_over_settings_and_a_service_has_the_time_that_its_health_checks_need(
    asked: dict[str, Any], timeout_s: float, stall_s: float
) -> None:
    assert LIMITS.adapted(**asked) == RunLimits(timeout_s=timeout_s, stall_s=stall_s, pull_s=1800)


def test_the_limits_can_be_read() -> None:
    assert str(LIMITS) == (
        "time limits: 120 s without progress, 3600 s in all; a pull is not counted and may take 1800 s"
    )
