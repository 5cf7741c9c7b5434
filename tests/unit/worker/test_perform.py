"""What each verb means, decided without an engine."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.worker.test_run import make_action
from tutumd.errors import EngineRefusedError
from tutumd.worker.perform import add_amounts
from tutumd.worker.retry import GIVE_UP_AFTER, delay_after, is_given_up, most_faults

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("present", "amounts", "target", "note"),
    [
        (2, [1], 3, ""),
        (2, [3, 1, 2], 8, ""),
        (98, [3], 100, "added 2 of 3 containers: a service may have at most 100"),
        (99, [1, 5], 100, "added 1 of 6 containers: a service may have at most 100"),
    ],
)
def test_amounts_are_added_in_order_up_to_the_cap(present: int, amounts: list[int], target: int, note: str) -> None:
    assert add_amounts(present, amounts, 100) == (target, note)


@pytest.mark.parametrize("present", [100, 150])
def test_nothing_to_add_is_refused_and_never_scales_down(present: int) -> None:
    with pytest.raises(EngineRefusedError, match="at most 100"):
        add_amounts(present, [3], 100)


def test_retries_wait_longer_up_to_a_limit() -> None:
    delays = [delay_after(attempts).total_seconds() for attempts in range(40)]
    assert delays[:4] == [0.5, 1, 2, 4]
    assert max(delays) == delays[-1] == 15


def test_an_action_that_may_have_parked_the_old_container_is_never_given_up() -> None:
    action = make_action(started=NOW)
    late = NOW + GIVE_UP_AFTER + timedelta(seconds=1)
    assert not is_given_up(action, NOW + GIVE_UP_AFTER, is_half_done=False)
    assert is_given_up(action, late, is_half_done=False)
    assert not is_given_up(action, late + timedelta(days=1), is_half_done=True)
    assert most_faults(is_half_done=True) > 10 * most_faults(is_half_done=False)
