"""Readiness of new containers: whether they run steadily, and are healthy if they have a health check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.rollout.timing import unfinished
from tutumd.ports.engine import Run

REMOVED = "it was removed by somebody else"
ENDED = (
    "it ended, and as it was started with --rm the engine deleted it with its output: "
    "run the image without --rm to see why"
)
_POLL_S = 0.2
# Number of log lines that a failure carries.
TAIL_LINES = 50
_MAX_CHECK_OUTPUT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessCheck:
    """How new containers are watched, and for how long old ones stay.

    Attributes:
        stable_s: How long a container without a health check must run.
        overlap_s: How long clients find both old and new containers, if that is possible.
        drain_s: How long an old container that clients no longer find may finish its work.
        clock: Monotonic seconds.
    """

    api: DockerApi
    stable_s: float
    overlap_s: float
    drain_s: float
    clock: Callable[[], float]

    def wait(self, container_id: str, run: Run, *, is_known: bool = False) -> str:
        """Wait until a container is ready; return an empty text, or why it is not.

        It is progress when the container runs for the first time.

        Args:
            is_known: It was ready before, so that inspecting it once is enough.
        """
        since: float | None = None
        while True:
            container = self.api.container(container_id)
            now = self.clock()
            if container is None or container.status != "running":
                since = None
            elif since is None:
                since = now
                run.advance(f"{container_id} ran", 1)
            reason = assess(container, 0.0 if since is None else now - since, 0.0 if is_known else self.stable_s)
            if reason is not None:
                return reason
            if run.remaining_s() <= 0:
                state = "healthy" if container is not None and container.health else "running steadily"
                return unfinished(run, f"it is not {state} yet")
            run.sleep(_POLL_S)


def assess(container: InspectedContainer | None, running_s: float, stable_s: float) -> str | None:
    """Return an empty text if a new container is ready, the reason if it failed, or None while it is too early.

    Args:
        running_s: How long it has been observed to run.
        stable_s: How long it must run without a restart if it has no health check.
    """
    if container is None:
        return REMOVED
    if container.oom_killed and container.status != "running":
        return "it ran out of memory"
    if container.status in ("exited", "dead"):
        return f"it exited with code {container.exit_code}" + (f": {container.error}" if container.error else "")
    if container.status == "restarting":
        return f"it exited with code {container.exit_code} and is being restarted"
    if container.restart_count:
        # The exit code is gone once it runs again.
        return f"it exited and was restarted, {container.restart_count} time(s) so far"
    if container.health == "unhealthy":
        checks: Any = container.raw["State"]["Health"].get("Log") or ({},)
        output = str(checks[-1].get("Output", "")).strip()[-_MAX_CHECK_OUTPUT:]
        return f"it is unhealthy: {output}" if output else "it is unhealthy"
    if container.status == "paused":
        return ""
    if container.status != "running" or container.health == "starting":
        return None
    return "" if container.health == "healthy" or running_s >= stable_s else None
