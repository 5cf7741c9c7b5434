"""One action on one Swarm service: the functions for its steps, and its time limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutumd.engines.dockerapi.documents import LEEWAY_S, patience_s
from tutumd.engines.labels import Json
from tutumd.engines.rollout import Timing, poll_until, retry_on_conflict
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.view import ServiceView, Task, TaskPhase
from tutumd.model import Phase, RunLimits
from tutumd.ports import Run

# Takes a service and returns its new specification; None if there is nothing to change.
MakeSpec = Callable[[ServiceView], dict[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """One run on the service `name`.

    Attributes:
        limits: Time limits of a run, from the server's settings.
    """

    api: SwarmApi
    name: str
    run: Run
    timing: Timing
    limits: RunLimits = field(default_factory=RunLimits)

    def view(self) -> ServiceView | None:
        return self.api.shown_view(self.name)

    def restart_s(self, view: ServiceView) -> float:
        return restart_s(self.api, view.spec)

    def wait_until_idle(self) -> ServiceView:
        """Return the service once no update runs, or after `idle_s`. Raises EngineRefusedError if the service is gone.

        An update sent in between would end the engine's monitoring of the earlier update, and the means to roll it
        back.
        """
        view = self.api.require_view(self.name)
        if not view.updating:
            return view
        self.run.log("waiting for an update that is already under way", Phase.WAITING)
        return poll_until(
            self.run,
            self.timing,
            lambda: self.api.require_view(self.name),
            lambda now: not now.updating,
            self.timing.idle_s,
        )

    def change(self, make_spec: MakeSpec) -> None:
        """Send the result of `make_spec`, again after each conflict. Raises the errors of `retry_on_conflict`."""
        retry_on_conflict(self.run, self.timing, lambda: self._change_once(make_spec))

    def _change_once(self, make_spec: MakeSpec) -> None:
        view = self.view()
        spec = make_spec(view) if view is not None else None
        if view is None or spec is None:
            return
        auth = self.api.stored_or_fresh_auth(spec["TaskTemplate"]["ContainerSpec"]["Image"])
        self.run.check()
        self.api.update(view, spec, auth)
        self.run.advance("sent", 1)


# Docker Engine API v1.44 TaskState. While a task is `preparing`, its node pulls the image.
_PULLING, _PULLED = "preparing", ("ready", "starting", "running", "complete")


def restart_s(api: SwarmApi, spec: Json) -> float:
    """Return the seconds that a task may take to stop, and its successor to become healthy, by their settings."""
    # The health check of the image is known only if this node has the image. A 0 in the service's own health check is
    # inherited.
    image: Json = api.local_image(specs.version(spec).image) or {}
    own = {name: value for name, value in (specs.container_spec(spec).get("Healthcheck") or {}).items() if value}
    return specs.grace_s(spec) + patience_s({**((image.get("Config") or {}).get("Healthcheck") or {}), **own})


def limits_of(api: SwarmApi, spec: Json, *, is_pulling: bool = False) -> dict[str, Any]:
    """Return the arguments of `Run.set_limits` for an action on a service.

    Args:
        spec: Specification with the UpdateConfig of the update.
    """
    config = spec.get(specs.UPDATE_CONFIG) or {}
    pauses_s = (int(config.get("Delay") or 0) + int(config.get("Monitor") or 0)) / specs.NANO
    return specs.read_labels(spec).limits(pauses_s + restart_s(api, spec) + LEEWAY_S, is_pulling=is_pulling)


def report_progress(context: ServiceContext, spec: Json, new: Sequence[Task]) -> None:
    """Report the progress of the new tasks, and set the limits of the run.

    A task that replaces a failed task is progress only if it gets further than any earlier task.

    Args:
        spec: Specification of the service, with the UpdateConfig of the update.
    """
    for task in new:
        context.run.advance(f"container {task.slot} has its image", int(task.state in _PULLED))
        context.run.advance(
            f"container {task.slot} ran", int(task.phase is TaskPhase.RUNNING or task.state == "complete")
        )
        if task.started is not None and specs.mode_of(spec) is specs.Mode.JOB:
            # A job is at work as long as it runs.
            context.run.advance("seconds of a job", int((context.timing.now() - task.started).total_seconds()))
    context.run.set_limits(
        **limits_of(
            context.api,
            spec,
            is_pulling=any(task.state == _PULLING and task.phase is TaskPhase.STARTING for task in new),
        )
    )
