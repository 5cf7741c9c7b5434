"""When an action is tried again, and when it is given up."""

from datetime import datetime, timedelta

from tutumd.model import Action

GIVE_UP_AFTER = timedelta(minutes=15)
"""How long an action waits for an engine that cannot be reached."""

MAX_FAULTS = 3
"""How often an action is tried that ends in a fault of our own, before it changed anything."""

MAX_FAULTS_HALF_DONE = 100
"""The same once it may have changed something: it alone can put that back, so it is tried for about 25 minutes."""

_FIRST_S = 0.5
_LONGEST_S = 15.0


def is_given_up(action: Action, now: datetime, *, is_half_done: bool) -> bool:
    """Tell whether an action has waited long enough for an engine that cannot be reached.

    One that may have changed something is never given up: the old container may be parked, and only this action
    knows how to bring it back.
    """
    return not is_half_done and now - (action.started or action.created) > GIVE_UP_AFTER


def most_faults(*, is_half_done: bool) -> int:
    """Say how often an action is tried that ends in a fault of our own."""
    return MAX_FAULTS_HALF_DONE if is_half_done else MAX_FAULTS


def delay_after(attempts: int) -> timedelta:
    """Say how long to wait after this many failed attempts (0: after the first): doubling, up to 15 s."""
    return timedelta(seconds=min(_LONGEST_S, _FIRST_S * 2 ** min(attempts, 10)))
