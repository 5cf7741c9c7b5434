"""Restart policy: whether and when a process that ended is started again."""

from datetime import datetime, timedelta

from tutumd.engines.local.records import ContainerRecord
from tutumd.model import Autorestart

FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(seconds=60)
# A process that ran this long is not in a crash loop: its next delay is `FIRST_DELAY` again.
LONG_RUN = timedelta(seconds=60)


def will_restart(autorestart: Autorestart, exit_code: int | None) -> bool:
    """Return whether the process is to be started again. An unknown exit code counts as a failure."""
    return autorestart is Autorestart.ALWAYS or (autorestart is Autorestart.ON_FAILURE and exit_code != 0)


def restart_delay(restarts: int) -> timedelta:
    """Return the delay after `restarts` restarts in a row: 1 s, 2 s, 4 s, …, 60 s."""
    return min(LONGEST_DELAY, FIRST_DELAY * (1 << min(restarts, 10)))


def restarts_in_a_row(container: ContainerRecord) -> int:
    """Return the number of restarts that the delay grows with: 0 after a long run."""
    if container.started and container.ended and container.ended - container.started >= LONG_RUN:
        return 0
    return container.restarts


def is_due(container: ContainerRecord, autorestart: Autorestart, now: datetime) -> bool:
    """Return whether an ended container is to be replaced by a new one now."""
    if container.ended is None or not will_restart(autorestart, container.exit_code):
        return False
    waited = now - container.ended
    return waited >= restart_delay(restarts_in_a_row(container)) or waited < timedelta(0)  # the clock was set back
