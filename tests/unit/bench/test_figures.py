"""The arithmetic of the benchmark."""

import math

import pytest

from tests.bench import claims, soak
from tests.bench.claims import Ran
from tests.bench.load import Load
from tests.bench.results import flatness
from tests.bench.soak import Sample


def ran(service: str, created: float, started: float | None, ended: float | None) -> Ran:
    return Ran(service=service, created=created, started=started, ended=ended)


def delays(*actions: Ran, slots: int = 2) -> list[float]:
    return claims.claim_delays(actions, 0, 100, slots)


def test_a_claim_is_late_from_when_its_action_was_queued() -> None:
    assert delays(ran("a", 1, 1.5, 2)) == [0.5]


def test_a_claim_is_not_late_while_its_service_is_busy() -> None:
    assert delays(ran("a", 1, 1, 5), ran("a", 2, 6, 7)) == [0, 1]


def test_a_claim_is_not_late_while_no_slot_is_free() -> None:
    assert delays(ran("a", 1, 1, 5), ran("b", 1, 1, 9), ran("c", 2, 6, 7)) == [0, 0, 1]


def test_a_claim_is_late_from_when_the_worker_had_made_the_one_before() -> None:
    assert delays(ran("a", 1, 2, 9), ran("b", 1, 5, 9)) == [1, 3]


def test_an_action_that_never_began_is_infinitely_late() -> None:
    assert delays(ran("a", 1, None, None)) == [math.inf]


def test_claims_outside_of_the_window_do_not_count() -> None:
    assert claims.claim_delays([ran("a", 1, 2, 3), ran("b", 8, 9, 10)], 4, 6) == []


def test_ended_actions_are_counted_within_the_window() -> None:
    actions = [ran("a", 0, 0, 1), ran("b", 0, 0, 3), ran("c", 0, 0, 5), ran("d", 0, 0, None)]
    assert claims.ended_per_s(actions, 1, 5) == 0.5


@pytest.mark.parametrize(("values", "expected"), [([3.0, 1.0, 2.0], 3.0), ([float(n) for n in range(1, 201)], 198.0)])
def test_p99_is_what_99_of_100_do_not_exceed(values: list[float], expected: float) -> None:
    assert claims.p99(values) == expected


def load(requests: int, calls_per_s: float) -> Load:
    return Load(requests=requests, calls_per_s=calls_per_s, p50_ms=0, p99_ms=0, failed=0)


def test_flatness_compares_the_last_tenth_of_the_calls_with_the_first() -> None:
    loads = [load(100, 200), *[load(100, 150)] * 18, load(100, 100)]
    assert flatness(loads) == pytest.approx(2 / (1 + 1 / 1.5) / (2 / (1 / 2 + 1 / 1.5)))


def test_memory_grows_from_five_minutes_on() -> None:
    samples = [
        Sample(seconds=minute * 60, memory_mb=100 + minute, threads=1, handles=1, requests=0, failed=0)
        for minute in range(1, 11)
    ]
    assert soak.growth(samples) == pytest.approx(110 / 105)
