"""Messages about an update: its progress, and why it failed."""

from tutumd.engines.rollout.timing import unfinished
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.spec import Version
from tutumd.engines.swarm.view import ServiceView, Task
from tutumd.ports.engine import Run


def describe_progress(view: ServiceView, version: Version) -> str:
    """Return a sentence about the progress of an update to `version`."""
    if specs.mode_of(view.spec) is specs.Mode.JOB:
        done = sum(task.state == "complete" for task in view.of(version))
        total = specs.completions_of(view.spec)
        return f"{done}{'' if total is None else f' of {total}'} containers of the job ended well"
    state = f", the engine says: {view.update_state.replace('_', ' ')}" if view.update_state else ""
    return f"{view.running_at(version)} of {desired_count(view)} new containers run{state}"


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
    return f"{text}: {describe_task(culprit)}" if culprit else text


def describe_task(task: Task) -> str:
    """Return what is wrong with a task."""
    if task.state == "complete":
        return f"container {task.slot} ended with exit code {task.exit_code}, by itself or because it was unhealthy"
    state = {"failed": "failed", "rejected": "was rejected"}.get(task.state, f"is {task.state}")
    return f"container {task.slot} {state}" + (f": {task.error}" if task.error else "")
