"""When an action is retried, and when it is given up."""

import random
import time
from collections.abc import Callable
from datetime import timedelta

GIVE_UP_AFTER = timedelta(minutes=15)
"""An action that has not changed anything fails if its engine cannot be reached for this long."""

_FIRST_DELAY_S = 0.5
_TURN_S = 3.0
_MAX_DELAY_S = 15.0


class Patience:
    """How long each action has waited for its engine since its first failed try.

    The time is that of this process, and does not count while the machine sleeps: no clock that is set, and no pause
    of the machine, gives up an action at its first failed try.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    def note_failure(self, action_uuid: str) -> None:
        """Begin to count at the first failed try of an action."""
        self._since.setdefault(action_uuid, self._monotonic())

    def forget(self, action_uuid: str) -> None:
        """Stop to count: the action has ended."""
        self._since.pop(action_uuid, None)

    def exhausted(self) -> list[str]:
        """Return the actions that have waited too long, and forget those that another worker must have ended."""
        waited = {uuid: self._monotonic() - since for uuid, since in list(self._since.items())}
        for uuid in (uuid for uuid, waited_s in waited.items() if waited_s > 2 * GIVE_UP_AFTER.total_seconds()):
            self.forget(uuid)
        return [uuid for uuid, waited_s in waited.items() if waited_s > GIVE_UP_AFTER.total_seconds()]


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
