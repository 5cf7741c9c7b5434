from datetime import timedelta

import pytest

from tests.unit.local.values import NOON, container
from tutumd.engines.local.supervisor import is_due, restart_delay, restarts_in_a_row, will_restart
from tutumd.model import Autorestart

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("policy", "exit_code", "expected"),
    [
        (Autorestart.OFF, 1, False),
        (Autorestart.OFF, None, False),
        (Autorestart.ON_FAILURE, 0, False),
        (Autorestart.ON_FAILURE, 1, True),
        (Autorestart.ON_FAILURE, None, True),
        (Autorestart.ALWAYS, 0, True),
        (Autorestart.ALWAYS, 1, True),
    ],
)
def test_the_policy_decides_on_the_exit_code(policy: Autorestart, exit_code: int | None, expected: bool) -> None:
    assert will_restart(policy, exit_code) is expected


def test_the_delay_doubles_from_one_second_to_a_minute() -> None:
    seconds = [restart_delay(count).total_seconds() for count in (0, 1, 2, 3, 4, 5, 6, 7, 100000)]
    assert seconds == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_process_that_ran_for_a_minute_is_not_in_a_crash_loop() -> None:
    assert restarts_in_a_row(container(1, restarts=5, ended=NOON + 59 * SECOND)) == 5
    assert restarts_in_a_row(container(1, restarts=5, ended=NOON + 60 * SECOND)) == 0


def test_a_restart_is_due_after_the_delay() -> None:
    ended = container(1, ended=NOON + 2 * SECOND, exit_code=1, restarts=1)
    assert not is_due(ended, Autorestart.ALWAYS, NOON + 3 * SECOND)
    assert is_due(ended, Autorestart.ALWAYS, NOON + 4 * SECOND)
    assert not is_due(ended, Autorestart.OFF, NOON + 4 * SECOND)
    assert not is_due(container(1), Autorestart.ALWAYS, NOON + 1000 * SECOND), "it runs"


def test_a_clock_that_was_set_back_holds_no_restart_up() -> None:
    assert is_due(container(1, ended=NOON, exit_code=1), Autorestart.ALWAYS, NOON - 1000 * SECOND)
