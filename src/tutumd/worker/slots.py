"""Slots of a worker: a bounded number of runs at once, each in its own thread."""

from collections.abc import Callable
from threading import BoundedSemaphore, Condition, Thread

from tutumd.worker.leased_run import LeasedRun


class Slots:
    """Free slots, and the runs in the others."""

    def __init__(self, size: int) -> None:
        self._free = BoundedSemaphore(size)
        self._runs: set[LeasedRun] = set()
        self._changed = Condition()

    def reserve(self, timeout_s: float) -> bool:
        """Take a free slot, and return False if there is none within the time."""
        return self._free.acquire(timeout=timeout_s)

    def release(self) -> None:
        """Return a reserved slot in which nothing was started."""
        self._free.release()

    def start(self, run: LeasedRun, perform: Callable[[LeasedRun], None]) -> None:
        """Perform a run in a reserved slot, which is free again when the run ends."""
        with self._changed:
            self._runs.add(run)
        try:
            Thread(target=self._perform, args=(run, perform), daemon=True).start()
        except RuntimeError:  # the system has no thread left; the lease ends by itself
            self._end(run)
            raise

    def runs(self) -> list[LeasedRun]:
        """Return the runs that have not ended."""
        with self._changed:
            return list(self._runs)

    def wait_until_empty(self, timeout_s: float) -> None:
        """Wait until all runs have ended, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: not self._runs, timeout_s)

    def _perform(self, run: LeasedRun, perform: Callable[[LeasedRun], None]) -> None:
        try:
            perform(run)
        finally:
            self._end(run)

    def _end(self, run: LeasedRun) -> None:
        with self._changed:
            self._runs.remove(run)
            self._changed.notify_all()
        self._free.release()
