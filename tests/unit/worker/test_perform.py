"""What each verb means, decided without an engine."""

import pytest

from tutumd.errors import EngineRefusedError
from tutumd.worker.perform import add_amounts
from tutumd.worker.retry import delay_after


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
