"""The limit of refused calls, by a clock that the test moves."""

from tutumd.application.refused_calls import MAX_CLIENTS, MAX_REFUSED, WINDOW_S, RefusedCalls
from tutumd.errors import TooManyCallsError

HANDLER = "a handler"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def guess(calls: RefusedCalls, address: str, times: int) -> int:
    """Make wrong calls, and return how many were looked at."""
    for number in range(times):
        try:
            calls.check(HANDLER, address)
        except TooManyCallsError as error:
            assert 1 <= error.retry_after_s <= WINDOW_S
            return number
        calls.record(HANDLER, address, is_refused=True)
    return times


def test_a_client_that_guesses_is_held_up_until_it_may_again() -> None:
    clock = Clock()
    calls = RefusedCalls(clock)
    assert guess(calls, "192.0.2.1", 1000) == MAX_REFUSED
    clock.now += WINDOW_S - 1
    assert guess(calls, "192.0.2.1", 1000) == 0
    clock.now += 1
    assert guess(calls, "192.0.2.1", 1000) == MAX_REFUSED


def test_clients_and_handlers_are_apart_and_an_ipv6_network_is_one_client() -> None:
    calls = RefusedCalls(Clock())
    assert guess(calls, "2001:db8::1", 1000) == MAX_REFUSED
    assert guess(calls, "2001:db8::2:1", 1000) == 0
    assert guess(calls, "2001:db8:0:1::1", 10) == 10
    assert guess(calls, "192.0.2.1", 1000) == MAX_REFUSED
    assert guess(calls, "::ffff:192.0.2.1", 1000) == 0
    calls.check("another handler", "192.0.2.1")


def test_a_client_that_knows_the_secret_is_never_held_up() -> None:
    calls = RefusedCalls(Clock())
    calls.record(HANDLER, "192.0.2.1", is_refused=False)
    assert guess(calls, "192.0.2.1", 1000) == 1000


def test_the_number_of_clients_is_bounded() -> None:
    calls = RefusedCalls(Clock())
    calls.record(HANDLER, "sender", is_refused=False)
    assert guess(calls, "2001:db8::1", 1000) == MAX_REFUSED
    for number in range(MAX_CLIENTS - 2):
        calls.record(HANDLER, f"10.0.{number // 256}.{number % 256}", is_refused=True)
    assert guess(calls, "2001:db8::1", 1) == 0
    calls.record(HANDLER, "sender", is_refused=False)
    calls.record(HANDLER, "192.0.2.1", is_refused=True)
    assert guess(calls, "2001:db8::1", 1) == 1, "the one that called first is forgotten"
    assert guess(calls, "sender", 1000) == 1000
