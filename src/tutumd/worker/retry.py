"""When an action is tried again, and when it is given up."""

from datetime import timedelta

GIVE_UP_AFTER = timedelta(minutes=15)
"""How long an action waits for an engine that cannot be reached."""

MAX_FAULTS = 3
"""How often an action is tried that ends in a fault of our own."""

_FIRST_S = 0.5
_LONGEST_S = 15.0


def delay_after(attempts: int) -> timedelta:
    """Say how long to wait after this many failed attempts (0: after the first): doubling, up to 15 s."""
    return timedelta(seconds=min(_LONGEST_S, _FIRST_S * 2 ** min(attempts, 10)))
