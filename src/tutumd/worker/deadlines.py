"""Deadlines of a run: an end in any case, an end without progress, and one of their own for pulls."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tutumd.model import RunLimits


class Deadlines:
    """Measures a run against its limits.

    Progress is a high-water mark per kind of progress: a container that becomes healthy for the second time is none.

    Attributes:
        limits: May be replaced at any time. What was measured so far counts.
    """

    def __init__(self, limits: RunLimits, monotonic: Callable[[], float]) -> None:
        """Begin to measure."""
        self.limits = limits
        self._monotonic = monotonic
        self._began = self._progressed = monotonic()
        self._pull_began: float | None = None
        self._highest: dict[str, int] = {}

    def advance(self, kind: str, count: int) -> None:
        """Take what has been reached, such as the number of healthy containers; more than ever before is progress."""
        if count > self._highest.get(kind, 0):
            self._highest[kind] = count
            self._progressed = self._monotonic()

    @contextmanager
    def pulling(self) -> Iterator[None]:
        """Apply the limit of pulls only. The other limits do not count the time in between."""
        self._pull_began = began = self._monotonic()
        try:
            yield
        finally:
            self._pull_began = None
            self._began += self._monotonic() - began
            self._progressed = self._monotonic()

    def remaining_s(self) -> float:
        """Return the seconds until the nearest limit; 0 once it is over."""
        now = self._monotonic()
        if self._pull_began is not None:
            return max(0.0, self._pull_began + self.limits.pull_s - now)
        stalls = self._progressed + self.limits.stall_s
        return max(0.0, min(self._began + self.limits.timeout_s, stalls) - now)

    def reason(self) -> str:
        """Return which limit is over, as in "there was no progress for 120 s"; empty if none is."""
        now, limits = self._monotonic(), self.limits
        if self._pull_began is not None:
            return f"the pull did not end within {limits.pull_s:g} s" if self.remaining_s() <= 0 else ""
        if now >= self._began + limits.timeout_s:
            return f"the action did not end within {limits.timeout_s:g} s"
        return f"there was no progress for {limits.stall_s:g} s" if self.remaining_s() <= 0 else ""
