"""Wakes the workers of this process when something was queued in it."""

from threading import Condition


class Signal:
    """A counter that threads can wait on. A notice between two waits is not lost."""

    def __init__(self) -> None:
        """Start at rest."""
        self._condition = Condition()
        self._count = 0
        self._seen = 0

    def notify(self) -> None:
        """Tell that something was queued."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Sleep until a notice that no earlier wait has seen, or until the time is over. For one waiter."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != self._seen, timeout_s)
            self._seen = self._count
