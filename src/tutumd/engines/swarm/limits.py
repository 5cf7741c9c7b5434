"""Time limits of an action on a service, and its progress, by the service's settings and what its tasks are doing."""

from collections.abc import Sequence
from typing import Any

from tutumd.engines.dockerapi.health_checks import LEEWAY_S, patience_s
from tutumd.engines.labels import Json
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.context import ServiceContext
from tutumd.engines.swarm.view import Phase, Task

# Docker Engine API v1.44 TaskState. While a task is `preparing`, its node pulls the image.
_PULLING, _PULLED = "preparing", ("ready", "starting", "running", "complete")


def restart_s(api: SwarmApi, spec: Json) -> float:
    """Return the seconds that a task may take to stop, and its successor to become healthy, by their settings."""
    # The health check of the image is known once this node has the image. What is 0 in the service's own is inherited.
    image: Json = api.local_image(specs.version(spec).image) or {}
    own = {name: value for name, value in (specs.container_spec(spec).get("Healthcheck") or {}).items() if value}
    return specs.grace_s(spec) + patience_s({**((image.get("Config") or {}).get("Healthcheck") or {}), **own})


def limits_of(api: SwarmApi, spec: Json, *, is_pulling: bool = False) -> dict[str, Any]:
    """Return the arguments of `Run.set_limits` for an action on a service.

    Args:
        spec: With the UpdateConfig that the update is sent with.
    """
    config = spec.get(specs.UPDATE_CONFIG) or {}
    pauses_s = (int(config.get("Delay") or 0) + int(config.get("Monitor") or 0)) / specs.NANO
    return specs.read_labels(spec).limits(pauses_s + restart_s(api, spec) + LEEWAY_S, is_pulling=is_pulling)


def report_progress(context: ServiceContext, spec: Json, new: Sequence[Task]) -> None:
    """Report what the new tasks have reached, and set the limits of the run.

    A task that takes the place of a failed one is progress only if it gets further than any before it.

    Args:
        spec: Of the service, with the UpdateConfig that the update is sent with.
    """
    for task in new:
        ran = task.phase is Phase.RUNNING or task.state == "complete"
        context.run.advance(f"container {task.slot} has its image", int(task.state in _PULLED))
        context.run.advance(f"container {task.slot} ran", int(ran))
        if task.started is not None and specs.mode_of(spec) is specs.Mode.JOB:
            # A job is at work as long as it runs.
            context.run.advance("seconds of a job", int((context.timing.now() - task.started).total_seconds()))
    is_pulling = any(task.state == _PULLING and task.phase is Phase.STARTING for task in new)
    context.run.set_limits(**limits_of(context.api, spec, is_pulling=is_pulling))
