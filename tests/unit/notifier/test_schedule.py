from datetime import UTC, datetime, timedelta

import pytest

from tutumd.model.notifications import SendResult
from tutumd.notifier.loop import next_attempt

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAILED = SendResult(sent=False, status=500, error="the receiver answered 500")


def test_a_receiver_that_fails_for_four_days_gets_ten_attempts() -> None:
    hours, at, attempts = [], NOW, 1
    while due := next_attempt(attempts, FAILED, at, 0.5):
        hours.append(round((due - at).total_seconds() / 3600, 3))
        at, attempts = due, attempts + 1
    assert hours == [0.001, 0.083, 0.5, 2, 5, 10, 14, 20, 24]
    assert timedelta(days=3) < at - NOW < timedelta(days=4)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 270), (0.5, 300), (1.0, 330)])
def test_an_attempt_moves_by_ten_percent(chance: float, seconds: float) -> None:
    assert next_attempt(2, FAILED, NOW, chance) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(("wanted_s", "seconds"), [(60, 300), (3600, 3600), (365 * 86_400, 86_400)])
def test_a_receiver_may_delay_the_next_attempt_up_to_a_day(wanted_s: float, seconds: float) -> None:
    result = SendResult(sent=False, status=429, retry_after_s=wanted_s)
    assert next_attempt(2, result, NOW, 0.5) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "result",
    [SendResult(sent=True), SendResult(sent=False, is_final=True), SendResult(sent=False, is_gone=True)],
)
def test_no_attempt_follows(result: SendResult) -> None:
    assert next_attempt(1, result, NOW, 0.5) is None
