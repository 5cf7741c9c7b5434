"""The status of an update, a job or a change of replicas, decided from what is seen of the service."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from tutumd.engines.rollout.outcome import RolloutStatus
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.spec import Version
from tutumd.engines.swarm.view import Phase, ServiceView, Task


def check_update(
    view: ServiceView, new: Version, old: Version, lost: Collection[str] = (), *, was_stopped: bool = False
) -> RolloutStatus:
    """Return the status of our update from `old` to `new`, once it was sent. The new tasks decide it.

    The update status is about our update: sending it has reset the one before
    (swarmkit: manager/controlapi/service.go `UpdateService`). The engine watches a new task for its `Monitor` only,
    and after a change in mid-update not at all, but reports `completed`.

    Args:
        lost: IDs of tasks whose node went down, which is no fault of theirs.
        was_stopped: The service was stopped before the update. If it was scaled to 0 since, nothing shows that the new
            version runs.
    """
    if view.version == new:
        is_emptied = specs.is_stopped(view.spec) and not was_stopped
        if view.update_state not in ("", "updating", "completed") or is_emptied or has_failed(view.of(new), lost):
            return RolloutStatus.FAILED
        is_there = view.running or specs.is_stopped(view.spec)
        return RolloutStatus.SUCCEEDED if is_there and is_converged(view, new) else RolloutStatus.IN_PROGRESS
    if view.version == old and view.update_state.startswith("rollback"):
        started = view.update_state == "rollback_started"
        return RolloutStatus.ROLLING_BACK if started else RolloutStatus.ROLLED_BACK
    return RolloutStatus.SUPERSEDED


def check_job(view: ServiceView, new: Version) -> RolloutStatus:
    """Return the status of a job's run: it succeeds when enough tasks completed.

    It fails when a task failed and the engine starts no other instead.
    """
    if view.version != new:
        return RolloutStatus.SUPERSEDED
    tasks = view.of(new)
    done = {task.slot for task in tasks if task.state == "complete"}
    total = specs.completions_of(view.spec)
    if not tasks or any(task.phase is not Phase.ENDED for task in tasks):
        return RolloutStatus.IN_PROGRESS
    enough = len(done) >= total if total is not None else done >= {task.slot for task in tasks}
    return RolloutStatus.SUCCEEDED if done and enough else RolloutStatus.FAILED


def check_scaling(
    view: ServiceView, *, target: int, before: int, tasks_before: tuple[str, ...], lost: Collection[str] = ()
) -> RolloutStatus:
    """Return the status of a change from `before` to `target` replicas, once it was sent.

    It fails when a new task does.
    """
    if specs.replicas_of(view.spec) != target:
        return RolloutStatus.SUPERSEDED
    if target < before:
        waits = view.stopping or len(view.desired) > target
        return RolloutStatus.IN_PROGRESS if waits else RolloutStatus.SUCCEEDED
    if has_failed([task for task in view.tasks if task.id not in tasks_before], lost):
        return RolloutStatus.FAILED
    return RolloutStatus.SUCCEEDED if len(view.running) >= target else RolloutStatus.IN_PROGRESS


def has_failed(tasks: Sequence[Task], lost: Collection[str] = ()) -> bool:
    """Return whether a task exited, or no node takes one.

    A single node may reject a task, as one that cannot pull the image does, and another run its replacement.

    Args:
        lost: As for `check_update`.
    """
    ended = [task for task in tasks if task.ended_early and task.id not in lost]
    rejected = Counter(task.slot for task in ended if not task.exited)
    running = {task.slot for task in tasks if task.phase is Phase.RUNNING}
    starting = {task.slot for task in tasks if task.phase is Phase.STARTING}
    return any(task.exited for task in ended) or any(
        slot not in running and (number > 1 or slot not in starting) for slot, number in rejected.items()
    )


def lost_tasks(tasks: Iterable[Task]) -> frozenset[str]:
    """Return the IDs of tasks whose node does not respond. Once it is back, it may report them as failed."""
    return frozenset(task.id for task in tasks if not task.node_ready)


def is_converged(view: ServiceView, version: Version) -> bool:
    """Return whether exactly the desired tasks run, each at that version."""
    desired = view.desired
    if any(task.phase is not Phase.RUNNING or task.version != version for task in desired):
        return False
    if specs.mode_of(view.spec) is specs.Mode.REPLICATED:
        return len(desired) == specs.replicas_of(view.spec)
    return bool(desired) or not view.nodes.open


def is_idle(view: ServiceView) -> bool:
    """Return whether no update runs or is about to: the engine reports nothing of one that it has not begun."""
    return not view.updating and (bool(view.update_state) or is_converged(view, view.version))


def is_rolled_back(view: ServiceView, old: Version, running_before: int) -> bool:
    """Return whether the old version runs as far as it did before the update.

    A service that was incomplete before need not become complete.
    """
    as_before = running_before <= view.running_at(old) and all(task.version == old for task in view.desired)
    return not view.updating and (is_converged(view, old) or as_before)


def stalled_tasks(view: ServiceView, new: Version) -> frozenset[str]:
    """Return the IDs of new tasks that would stay as they are because the engine's updater does nothing more.

    If the node of a new task goes down before the task runs, the engine starts a replacement, but its updater waits
    for the first task forever (measured on Engine 26). If the node of an old task is drained, both the engine and its
    updater replace that task. The engine removes one of the two once the update is completed, unless the updater has
    not ended at that moment (swarmkit: manager/orchestrator/update/updater.go `Supervisor.Update`). The set is empty
    while a new task is starting.
    """
    tasks = view.of(new)
    if any(task.phase is Phase.STARTING for task in tasks):
        return frozenset()
    running = [task for task in tasks if task.phase is Phase.RUNNING]
    places = Counter(task.slot for task in running)
    if view.updating:
        return frozenset(task.id for task in tasks if task.lost_before_start and places[task.slot])
    is_completed = view.update_state == "completed"
    return frozenset(task.id for task in running if is_completed and places[task.slot] > 1)


def needs_room(view: ServiceView, new: Version) -> bool:
    """Return whether all starting tasks of the new version lack room that old tasks would give."""
    starting = [task for task in view.of(new) if task.phase is Phase.STARTING]
    return bool(starting) and all(task.lacks_room for task in starting) and old_tasks_give_room(view, new)


def old_tasks_give_room(view: ServiceView, new: Version) -> bool:
    """Return whether a new task could replace each old one on its node.

    A paused or drained node accepts none: the old task would stop, and neither version could start again.
    """
    return all(task.node_open for task in view.running if task.version != new)


def find_culprit(tasks: Iterable[Task], version: Version, message: str = "") -> Task | None:
    """Return the task to blame: the one in the engine's message, else the newest that failed or waits."""
    candidates = [task for task in tasks if task.version == version]
    named = [task for task in candidates if task.id in message]
    ended = [task for task in candidates if task.ended_early]
    waiting = [task for task in candidates if task.phase is not Phase.RUNNING and task.error]
    starting = [task for task in candidates if task.phase is Phase.STARTING]
    blamed = named or ended or waiting or starting
    return blamed[-1] if blamed else None
