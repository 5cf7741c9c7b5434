"""Messages about an update: its progress, and why it failed."""

import re
from collections.abc import Iterable

from tutumd.engines.labels import Json
from tutumd.engines.rollout.outcome import restarts_text
from tutumd.engines.rollout.timing import unfinished
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.health import is_converged
from tutumd.engines.swarm.spec import Version
from tutumd.engines.swarm.view import ServiceView, Task
from tutumd.ports.engine import Run

# moby/moby: daemon/cluster/executor/container/errors.go `exitError`.
_NON_ZERO = re.compile(r"task: non-zero exit \((?P<code>-?[0-9]+)\)(?P<cause>.*)", re.DOTALL)


def describe_progress(view: ServiceView, version: Version) -> str:
    """Return a sentence about the progress of an update to `version`."""
    if specs.mode_of(view.spec) is specs.Mode.JOB:
        done = sum(task.state == "complete" for task in view.of(version))
        total = specs.completions_of(view.spec)
        return f"{done}{'' if total is None else f' of {total}'} containers of the job ended well"
    state = f", the engine says: {view.update_state.replace('_', ' ')}" if view.update_state else ""
    watched = ", and are watched until they are stable" if view.running and is_converged(view, version) else ""
    stopping = f"; still stopping: {view.stopping}" if view.stopping else ""
    return f"{view.running_at(version)} of {desired_count(view)} new containers run{watched}{state}{stopping}"


def describe_pace(config: Json) -> str:
    """Return how many tasks an UpdateConfig replaces at a time, and how long it pauses in between."""
    number, pause_s = int(config.get("Parallelism") or 0), int(config.get("Delay") or 0) / specs.NANO
    at_once = f"{number} task{'s' if number > 1 else ''} at a time" if number else "all tasks at once"
    return at_once + (f" and {pause_s:g} s apart" if pause_s else "")


def desired_count(view: ServiceView) -> int:
    """Return the number of tasks that the service should have; in global mode the number that it has."""
    if specs.mode_of(view.spec) is specs.Mode.REPLICATED:
        return specs.replicas_of(view.spec)
    return len({task.slot for task in view.desired})


def describe_failure(view: ServiceView, culprit: Task | None, run: Run) -> str:
    """Return why an update failed."""
    is_job = specs.mode_of(view.spec) is specs.Mode.JOB
    what = "job" if is_job else "update"
    if "manually requested" in str(view.status.get("Message")):  # swarmkit: manager/controlapi/service.go
        text = "somebody else rolled the update back"
    elif view.update_state.startswith("rollback"):
        text = "the engine rolled the update back"
    elif view.update_state == "paused":
        text = "the engine paused the update"
    elif run.remaining_s() <= 0:
        text = unfinished(run, f"the {what} is not complete ({describe_progress(view, view.version)})")
    else:
        text = f"the {what} failed"
    if is_job:
        text += "; it stays at the new version, because a rollback would run the previous version again"
    return f"{text}: {describe_task(culprit, view.tasks)}" if culprit else text


def describe_task(task: Task, tasks: Iterable[Task]) -> str:
    """Return what is wrong with a task.

    Args:
        tasks: Among them are those that took the same place before and after it.
    """
    exited = _NON_ZERO.fullmatch(task.error)
    if exited or task.state == "complete":
        same = [other for other in tasks if (other.slot, other.version) == (task.slot, task.version)]
        restarts = restarts_text(max(sum(other.ended_early for other in same) - 1, 0))
        cause = exited["cause"] if exited else ", by itself or because it was unhealthy"
        return f"container {task.slot} exited with {exited['code'] if exited else task.exit_code}{restarts}{cause}"
    state = {"failed": "failed", "rejected": "was rejected"}.get(task.state, f"is {task.state}")
    return f"container {task.slot} {state}" + (f": {task.error}" if task.error else "")
