"""What people are told about an update: how far it is, and why it failed."""

from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.tasks import Task
from tutumd.engines.swarm.verdict import View
from tutumd.engines.swarm.version import Version


def progress(view: View, version: Version) -> str:
    """Say how far an update is."""
    if specs.mode_of(view.spec) is specs.Mode.JOB:
        done = sum(task.version == version and task.state == "complete" for task in view.tasks)
        total = specs.completions_of(view.spec)
        return f"{done}{'' if total is None else f' of {total}'} containers of the job ended well"
    total = expected(view)
    state = f", the engine says: {view.update_state.replace('_', ' ')}" if view.update_state else ""
    return f"{view.running_at(version)} of {total} new containers run{state}"


def expected(view: View) -> int:
    """Count the tasks that shall run; in global mode those that there are."""
    if specs.mode_of(view.spec) is specs.Mode.REPLICATED:
        return specs.replicas_of(view.spec)
    return len({task.place for task in view.wanted})


def failure(view: View, blamed: Task | None, overdue: bool) -> str:
    """Say why an update failed."""
    is_job = specs.mode_of(view.spec) is specs.Mode.JOB
    what = "job" if is_job else "update"
    if "manually requested" in str(view.status.get("Message")):  # swarmkit: manager/controlapi/service.go
        text = "somebody else rolled the update back"
    elif view.update_state.startswith("rollback"):
        text = "the engine rolled the update back"
    elif view.update_state == "paused":
        text = "the engine paused the update"
    elif overdue:
        text = f"the {what} did not end before the deadline ({progress(view, specs.version(view.spec))})"
    else:
        text = f"the {what} failed"
    if is_job:
        text += "; it stays at the new version, since to put the one before back would be to run that again"
    return f"{text}: {trouble_of(blamed)}" if blamed else text


def trouble_of(task: Task) -> str:
    """Say what a task suffers from."""
    if task.state == "complete":
        return f"container {task.place} ended with exit code {task.exit_code}, by itself or since it was unhealthy"
    state = {"failed": "failed", "rejected": "was rejected"}.get(task.state, f"is {task.state}")
    return f"container {task.place} {state}" + (f": {task.error}" if task.error else "")
