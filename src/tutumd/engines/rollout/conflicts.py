"""Changes to an object that others change too: read it, send the change, start again on a conflict."""

from collections.abc import Callable
from typing import TypeVar

from tutumd.engines.rollout.timing import Timing
from tutumd.errors import EngineRefusedError, EngineUnavailableError, TutumdError
from tutumd.ports.engine import Run

T = TypeVar("T")

_ATTEMPTS = 12
# Attempts at a change that is not allowed; together they take about two seconds.
_DENIED_ATTEMPTS = 6


class StaleError(TutumdError):
    """The object changed since it was read: read it again."""


class DeniedError(EngineRefusedError):
    """The permission is missing, perhaps only briefly: an API server that starts knows no rules yet."""


def retry_on_conflict(run: Run, timing: Timing, change: Callable[[], T]) -> T:
    """Return what `change` returns, after as many attempts as conflicts make necessary.

    Args:
        change: Reads the object, decides and sends. It raises StaleError if the object changed in between.

    Raises:
        EngineUnavailableError: There was a conflict at each attempt; nothing was changed.
        EngineRefusedError: The engine refused the change. A missing permission is retried a few times first.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return change()
        except StaleError:
            pass
        except DeniedError:
            if attempt >= _DENIED_ATTEMPTS:
                raise
        run.sleep((0.02 + 0.2 * timing.jitter()) * (attempt + 1))
    raise EngineUnavailableError(f"others changed the service at each of {_ATTEMPTS} attempts to change it")
