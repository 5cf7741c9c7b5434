"""Watching new containers until they can be relied on."""

from collections.abc import Callable
from dataclasses import dataclass

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.verdict import verdict
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_POLL_S = 0.2
_TAIL_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a wait needs.

    Attributes:
        stable_s: How long a container without a health check must run.
        overlap_s: For how long old and new containers both are found, where that is possible.
        drain_s: For how long an old container that is not found any more may finish what it works on.
        clock: Monotonic seconds.
    """

    host: DockerApi
    stable_s: float
    overlap_s: float
    drain_s: float
    clock: Callable[[], float]

    def wait(self, container: str, run: Run, *, known: bool = False) -> str:
        """Wait until a container is good, and return an empty text, or why it is not.

        Args:
            known: It ran steadily before, so that one look at it is enough.
        """
        since: float | None = None
        while True:
            seen = self.host.container(container)
            running = seen is not None and seen.status == "running"
            now = self.clock()
            since = (now if since is None else since) if running else None
            found = verdict(seen, 0.0 if since is None else now - since, 0.0 if known else self.stable_s)
            if found is not None:
                return found
            if run.remaining_s() <= 0:
                health = "not healthy" if seen is not None and seen.health else "not running steadily"
                return f"it was {health} before the deadline"
            run.sleep(_POLL_S)

    def output(self, container: str) -> str:
        """Read the last lines of what failed; empty where they cannot be read."""
        try:
            return self.host.output(container, _TAIL_LINES)
        except EngineRefusedError:
            return ""
