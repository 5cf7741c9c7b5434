"""The status of an update, a job or a change of replicas, decided from views of the service, with sentences about
it.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from tutumd.engines.labels import Json, pull_code
from tutumd.engines.rollout import RolloutStatus, ScaleJournal, blame, restarts_text, unfinished
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.spec import Version
from tutumd.engines.swarm.view import ServiceView, Task, TaskPhase
from tutumd.errors import Cause, ReasonCode
from tutumd.ports import Run


def check_update(
    view: ServiceView, new: Version, old: Version, lost: Collection[str] = (), *, was_stopped: bool = False
) -> RolloutStatus:
    """Return the status of our update from `old` to `new`, after it was sent. The new tasks decide it.

    The update status refers to our update: sending it has reset the earlier status (swarmkit:
    manager/controlapi/service.go `UpdateService`). The engine watches a new task only during its `Monitor`, and after a
    change in mid-update not at all, but reports `completed`.

    Args:
        lost: IDs of tasks whose node went down, which is not their fault.
        was_stopped: Whether the service was stopped before the update. If it was scaled to 0 since, nothing shows that
            the new version runs.
    """
    if view.version == new:
        if (
            view.update_state not in ("", "updating", "completed")
            or (specs.is_stopped(view.spec) and not was_stopped)
            or has_failed(view.of(new), lost)
        ):
            return RolloutStatus.FAILED
        return (
            RolloutStatus.SUCCEEDED
            if (view.running or specs.is_stopped(view.spec)) and is_converged(view, new)
            else RolloutStatus.IN_PROGRESS
        )
    return (
        RolloutStatus.FAILED
        if view.version == old and view.update_state.startswith("rollback")
        else RolloutStatus.SUPERSEDED
    )


def check_job(view: ServiceView, new: Version) -> RolloutStatus:
    """Return the status of a job's run: it succeeds when enough tasks have completed.

    It fails when a task has failed and the engine starts no replacement.
    """
    if view.version != new:
        return RolloutStatus.SUPERSEDED
    tasks = view.of(new)
    done = {task.slot for task in tasks if task.state == "complete"}
    total = specs.completions_of(view.spec)
    if not tasks or any(task.phase is not TaskPhase.ENDED for task in tasks):
        return RolloutStatus.IN_PROGRESS
    enough = len(done) >= total if total is not None else done >= {task.slot for task in tasks}
    return RolloutStatus.SUCCEEDED if done and enough else RolloutStatus.FAILED


def check_scaling(view: ServiceView, journal: ScaleJournal, lost: Collection[str] = ()) -> RolloutStatus:
    """Return the status of a change of the number of replicas, after it was sent. It fails when a new task does."""
    if specs.replicas_of(view.spec) != journal.target:
        return RolloutStatus.SUPERSEDED
    if journal.target < journal.before:
        return (
            RolloutStatus.IN_PROGRESS
            if view.stopping or len(view.desired) > journal.target
            else RolloutStatus.SUCCEEDED
        )
    if has_failed([task for task in view.tasks if task.id not in journal.present_before], lost):
        return RolloutStatus.FAILED
    return RolloutStatus.SUCCEEDED if len(view.running) >= journal.target else RolloutStatus.IN_PROGRESS


def has_failed(tasks: Sequence[Task], lost: Collection[str] = ()) -> bool:
    """Return whether a task exited, or no node accepts one.

    A single node may reject a task, for example if it cannot pull the image, and another node run its replacement.

    Args:
        lost: As for `check_update`.
    """
    ended = [task for task in tasks if task.ended_early and task.id not in lost]
    rejected = Counter(task.slot for task in ended if not task.exited)
    running = {task.slot for task in tasks if task.phase is TaskPhase.RUNNING}
    starting = {task.slot for task in tasks if task.phase is TaskPhase.STARTING}
    return any(task.exited for task in ended) or any(
        slot not in running and (number > 1 or slot not in starting) for slot, number in rejected.items()
    )


def lost_tasks(tasks: Iterable[Task]) -> frozenset[str]:
    """Return the IDs of tasks whose node does not respond. When the node returns, it may report them as failed."""
    return frozenset(task.id for task in tasks if not task.node_ready)


def is_converged(view: ServiceView, version: Version) -> bool:
    """Return whether exactly the desired tasks run, each at that version."""
    desired = view.desired
    if any(task.phase is not TaskPhase.RUNNING or task.version != version for task in desired):
        return False
    if specs.mode_of(view.spec) is specs.Mode.REPLICATED:
        return len(desired) == specs.replicas_of(view.spec)
    return bool(desired) or not view.nodes.open


def is_idle(view: ServiceView) -> bool:
    """Return whether no update runs or is about to run: the engine does not report an update that it has not begun."""
    return not view.updating and (bool(view.update_state) or is_converged(view, view.version))


def is_rolled_back(view: ServiceView, old: Version, running_before: int) -> bool:
    """Return whether the old version runs to the same extent as before the update.

    A service that was incomplete before need not become complete.
    """
    as_before = running_before <= view.running_at(old) and all(task.version == old for task in view.desired)
    return not view.updating and (is_converged(view, old) or as_before)


def stalled_tasks(view: ServiceView, new: Version) -> frozenset[str]:
    """Return the IDs of new tasks that would not change because the engine's updater does nothing more.

    If the node of a new task goes down before the task runs, the engine starts a replacement, but its updater waits for
    the first task forever (measured on Engine 26). If the node of an old task is drained, both the engine and its
    updater replace that task. The engine removes one of the two after the update is completed, unless the updater has
    not ended at that moment (swarmkit: manager/orchestrator/update/updater.go `Supervisor.Update`). The set is empty
    while a new task is starting.
    """
    tasks = view.of(new)
    if any(task.phase is TaskPhase.STARTING for task in tasks):
        return frozenset()
    running = [task for task in tasks if task.phase is TaskPhase.RUNNING]
    places = Counter(task.slot for task in running)
    if view.updating:
        return frozenset(task.id for task in tasks if task.lost_before_start and places[task.slot])
    is_completed = view.update_state == "completed"
    return frozenset(task.id for task in running if is_completed and places[task.slot] > 1)


def needs_room(view: ServiceView, new: Version) -> bool:
    """Return whether all starting tasks of the new version lack room that old tasks would free."""
    starting = [task for task in view.of(new) if task.phase is TaskPhase.STARTING]
    return bool(starting) and all(task.lacks_room for task in starting) and old_tasks_give_room(view, new)


def old_tasks_give_room(view: ServiceView, new: Version) -> bool:
    """Return whether a new task could replace each old task on its node.

    A paused or drained node accepts no task: the old task would stop, and neither version could start again.
    """
    return all(task.node_open for task in view.running if task.version != new)


def find_culprit(tasks: Iterable[Task], version: Version, message: str = "") -> Task | None:
    """Return the culprit: the task in the engine's message, else the newest task that failed or waits."""
    candidates = [task for task in tasks if task.version == version]
    named = [task for task in candidates if task.id in message]
    ended = [task for task in candidates if task.ended_early]
    blamed = (
        named
        or ended
        or [task for task in candidates if task.phase is not TaskPhase.RUNNING and task.error]
        or [task for task in candidates if task.phase is TaskPhase.STARTING]
    )
    return blamed[-1] if blamed else None


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
    return blame(text, describe_task(culprit, view.tasks)) if culprit else text


def describe_task(task: Task, tasks: Iterable[Task]) -> str:
    """Return the problem of a task.

    Args:
        tasks: Tasks, including those with the same place before and after it.
    """
    exited = _NON_ZERO.fullmatch(task.error)
    if exited or task.state == "complete":
        same = [other for other in tasks if (other.slot, other.version) == (task.slot, task.version)]
        restarts = restarts_text(max(sum(other.ended_early for other in same) - 1, 0))
        cause = exited["cause"] if exited else ", by itself or because it was unhealthy"
        text = f"container {task.slot} exited with {exited['code'] if exited else task.exit_code}{restarts}{cause}"
        return Cause(text, ReasonCode.UNHEALTHY if "unhealthy" in task.error else ReasonCode.EXITED)
    state = {"failed": "failed", "rejected": "was rejected"}.get(task.state, f"is {task.state}")
    text = blame(f"container {task.slot} {state}", task.error)
    return Cause(text, pull_code(task.error)) if "image" in task.error else text
