"""When an action is retried, and how often."""

import random
from collections.abc import Callable
from datetime import timedelta

_FIRST_DELAY_S = 0.5
_TURN_S = 3.0
_MAX_DELAY_S = 15.0


def max_faults(*, is_half_done: bool) -> int:
    """Return how many attempts of an action may end in an internal error.

    A half-done action gets about 25 minutes of them, because only the action itself can restore the service.
    """
    return 100 if is_half_done else 3


def delay_of_turn(random: Callable[[], float] = random.random) -> timedelta:
    """Return the delay before an action looks whether its turn has come, whose engine is in use by another change.

    It does not grow: who has waited for longer would otherwise look more seldom than who has just come.
    """
    return timedelta(seconds=_TURN_S * (0.1 + 0.9 * random()))


def delay_after(attempts: int, random: Callable[[], float] = random.random) -> timedelta:
    """Return the delay after failed attempts. It doubles with each one, up to 15 s; `attempts` is 0 after the first.

    Args:
        random: Returns 0 to 1. Up to half of the delay is random, so that actions that hinder each other get apart.
    """
    return timedelta(seconds=min(_MAX_DELAY_S, _FIRST_DELAY_S * 2 ** min(attempts, 10)) * (1 - random() / 2))
