"""Changes are tried again after a conflict."""

import pytest

from tests.support.runs import FakeRun
from tutumd.engines.rollout.timing import DeniedError, StaleError, Timing, retry_on_conflict
from tutumd.errors import EngineRefusedError, EngineUnavailableError

TIMING = Timing(jitter=lambda: -0.0999)
"""With next to no pause between attempts."""


class Change:
    """Raises an error at each of its first attempts."""

    def __init__(self, error: Exception, failures: int) -> None:
        self.attempts = 0
        self._error = error
        self._failures = failures

    def __call__(self) -> str:
        self.attempts += 1
        if self.attempts <= self._failures:
            raise self._error
        return "changed"


@pytest.mark.parametrize("error", [StaleError("changed"), DeniedError("no rules yet")])
def test_a_change_is_tried_again(error: Exception) -> None:
    assert retry_on_conflict(FakeRun(), TIMING, Change(error, 5)) == "changed"


def test_endless_conflicts_make_the_engine_unavailable() -> None:
    change = Change(StaleError("changed"), 100)
    with pytest.raises(EngineUnavailableError, match="others changed the service at each of 12 attempts"):
        retry_on_conflict(FakeRun(), TIMING, change)
    assert change.attempts == 12


def test_a_missing_permission_is_refused_after_a_few_attempts() -> None:
    change = Change(DeniedError("not allowed"), 100)
    with pytest.raises(EngineRefusedError, match="not allowed"):
        retry_on_conflict(FakeRun(), TIMING, change)
    assert change.attempts == 7


def test_another_refusal_is_not_tried_again() -> None:
    change = Change(EngineRefusedError("bad"), 100)
    with pytest.raises(EngineRefusedError, match="bad"):
        retry_on_conflict(FakeRun(), TIMING, change)
    assert change.attempts == 1
