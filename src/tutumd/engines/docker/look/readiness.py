"""Readiness of new containers: whether they run steadily and are healthy, and how long they may take."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.dockerapi.documents import LEEWAY_S, patience_s
from tutumd.engines.labels import parse_labels
from tutumd.engines.rollout import HoldTimer, restarts_text, unfinished
from tutumd.errors import Cause, ReasonCode
from tutumd.ports import Run

REMOVED = Cause("it was removed by somebody else", ReasonCode.CHANGED_MEANWHILE)
ENDED = Cause(
    "it ended, and as it was started with --rm the engine deleted it with its output: "
    "run the image without --rm to see why",
    ReasonCode.EXITED,
)
_POLL_S = 0.3
# Without an event of the engine, a steady container is looked at only this often.
_TRUSTED_S = 5.0
# A container counts as ended or unhealthy only if it stays so for this long, unless the engine has restarted it.
_SECOND_LOOK_S = 1.5
# Number of log lines in a failure.
TAIL_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionContext:
    """One action on one service: the functions for its steps, and the watch of new containers.

    Attributes:
        stable_s: Seconds that a new container must run without a restart, and be healthy if it has a health check.
        drain_s: Seconds that clients find both the old and the new container, if that is possible.
        clock: Monotonic seconds.
        activity: Returns a number that changes with each event of the engine's containers; None if no events arrive.
        timers: How long each new container has been in its state, as far as this process has seen it.
        looks: The last look at each container of the run: the activity before it, its time, and the container.
    """

    api: DockerApi
    run: Run
    stable_s: float
    drain_s: float
    clock: Callable[[], float]
    activity: Callable[[], int | None] = lambda: None
    timers: dict[str, HoldTimer] = field(default_factory=dict)
    looks: dict[str, tuple[int | None, float, InspectedContainer]] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Part of the names of this run's containers."""
        return self.run.action_uuid[:8]

    def confirm(self, container_ids: Iterable[str]) -> tuple[str, str] | None:
        """Wait until all have been ready for the stability window, then check once more; return as `wait` does."""
        ids = tuple(container_ids)
        failure = self.wait(ids, self.stable_s, healthy_s=self.stable_s)
        # The last of them was just looked at.
        return failure or (self.wait(ids, 0.0) if len(ids) > 1 else None)

    def wait(self, container_ids: Iterable[str], stable_s: float, *, healthy_s: float = 0.0) -> tuple[str, str] | None:
        """Wait until all containers are ready; return None, or the ID of the first container that failed, and the
        reason.

        A container that runs or is healthy for the first time counts as progress.

        Args:
            stable_s: Seconds that a container without a health check must have run; 0 means that one look is
                sufficient.
            healthy_s: Seconds that a container with a health check must have been healthy.
        """
        left = due = list(container_ids)
        while True:
            is_over = self.run.remaining_s() <= 0
            doubt_s = 0.0 if is_over else _SECOND_LOOK_S
            reasons = {each: self._look(each, stable_s, healthy_s, doubt_s) for each in (left if is_over else due)}
            for container_id, reason in reasons.items():
                if reason:
                    return container_id, reason
            left = [each for each in left if reasons.get(each) is None]
            if not left:
                return None
            if is_over:
                state = "healthy" if self.looks[left[0]][2].health else "running steadily"
                return left[0], unfinished(self.run, f"it is not {state} yet")
            self.run.sleep(_POLL_S)
            due = [each for each in left if self.needs_look(each, stable_s, healthy_s)]

    def needs_look(self, container_id: str, stable_s: float = math.inf, healthy_s: float = math.inf) -> bool:
        """Return whether a container may differ from the last look, or may have been ready for long enough since.

        Args:
            stable_s, healthy_s: As in `wait`.
        """
        activity, at, container = self.looks[container_id]
        is_steady = container.status == "running" and container.health in ("", "healthy")
        if activity is None or activity != self.activity() or not is_steady or self.clock() - at >= _TRUSTED_S:
            return True
        return self.timers[container_id].seconds(_state_of(container)) >= (healthy_s if container.health else stable_s)

    def remember(self, container: InspectedContainer) -> None:
        """Store a look that was not part of a watch."""
        self.looks[container.id] = None, 0.0, container

    def last_seen(self, container_id: str) -> InspectedContainer | None:
        """Return a container as it was at the last look, for what never changes; None if it is gone."""
        return self.looks[container_id][2] if container_id in self.looks else self.api.container(container_id)

    def _look(self, container_id: str, stable_s: float, healthy_s: float, doubt_s: float) -> str | None:
        """Look at a container once; return as `assess` does."""
        activity = self.activity()
        container = self.api.container(container_id)
        if container is None:
            return REMOVED
        held_s = self.timers.setdefault(container_id, HoldTimer(self.clock)).seconds(_state_of(container))
        self.looks[container_id] = activity, self.clock(), container
        if container.status == "running":
            self.run.advance(f"{container_id} ran", 1)
            if container.health == "healthy":
                self.run.advance(f"{container_id} was healthy", 1)
        ended = container.finished if container.status == "running" and container.restart_count else None
        return assess(
            container,
            held_s,
            healthy_s if container.health else stable_s,
            doubt_s,
            exit_code=self.api.last_exit_code(container, ended) if ended else container.exit_code,
        )


def _state_of(container: InspectedContainer) -> tuple[object, ...]:
    return container.started, container.status, container.health


def assess(
    container: InspectedContainer, held_s: float, stable_s: float, doubt_s: float, *, exit_code: int | None
) -> str | None:
    """Return an empty text if a new container is ready, the reason if it failed, or None if it is too early to tell.

    Args:
        held_s: Seconds that it has been observed in its current state.
        stable_s: Seconds that it must be ready.
        doubt_s: Seconds that a possibly temporary failure must last.
        exit_code: Exit code of its last exit; None if unknown.
    """
    restarted = restarts_text(container.restart_count)
    if container.oom_killed and container.status != "running":
        return Cause(f"it ran out of memory{restarted}", ReasonCode.EXITED)
    if container.status in ("exited", "dead", "restarting") or restarted:
        if container.status != "restarting" and not restarted and held_s < doubt_s:
            # Somebody may be restarting it manually, which the engine does not count.
            return None
        code = "" if exit_code is None else f" with {exit_code}"
        error = f": {container.error}" if container.error else ""
        return Cause(f"it exited{code}{restarted}{error}", ReasonCode.EXITED)
    if container.status == "paused":
        # Its health checks also pause: the last result does not count.
        return ""
    if container.health == "unhealthy":
        checks: Any = container.raw["State"]["Health"].get("Log") or ({},)
        output = str(checks[-1].get("Output", "")).strip()[-500:]
        return (
            Cause(f"it is unhealthy: {output}" if output else "it is unhealthy", ReasonCode.UNHEALTHY)
            if held_s >= doubt_s
            else None
        )
    if container.status != "running" or container.health == "starting":
        return None
    return "" if held_s >= stable_s else None


def limits_of(
    containers: Sequence[InspectedContainer], dependents: Iterable[InspectedContainer] = (), *, stable_s: float
) -> dict[str, Any]:
    """Return the arguments of `Run.set_limits` for an action on these containers.

    Labels and health checks of a container never change, so that a resumed run has the same limits.

    Args:
        containers: Containers of the service, old and new.
        dependents: Containers that are re-created with them. Their labels do not count.
        stable_s: Seconds that a container without a health check must run, unless a label sets another value.
    """
    labels = parse_labels([container.labels for container in containers])
    checks = [(container.raw.get("Config") or {}).get("Healthcheck") for container in (*containers, *dependents)]
    stable_s = stable_s if labels.stable_s is None else labels.stable_s
    return labels.limits(max([stable_s, *map(patience_s, checks)]) + LEEWAY_S)
