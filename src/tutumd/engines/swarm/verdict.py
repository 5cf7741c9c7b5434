"""How an update stands: decided from the service and its tasks as they are now, and from what was ordered."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from tutumd.engines.labels import Json
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.tasks import Nodes, Phase, Task
from tutumd.engines.swarm.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A service at one moment: as inspected, its tasks oldest first, and the nodes."""

    service: Json
    tasks: tuple[Task, ...]
    nodes: Nodes

    @property
    def spec(self) -> Json:
        """The specification, as the engine shows it."""
        spec: Json = self.service["Spec"]
        return spec

    @property
    def index(self) -> int:
        """What an update must name to be accepted."""
        return int(self.service["Version"]["Index"])

    @property
    def status(self) -> Json:
        """What the engine says about the last update; empty where it says nothing."""
        return self.service.get("UpdateStatus") or {}

    @property
    def update_state(self) -> str:
        """The state of the last update in the engine's word; empty where it has none."""
        return str(self.status.get("State") or "")

    @property
    def updating(self) -> bool:
        """The engine is at work on an update."""
        return self.update_state in ("updating", "rollback_started")

    @property
    def running(self) -> tuple[Task, ...]:
        """The tasks that run."""
        return tuple(task for task in self.tasks if task.phase is Phase.RUNNING)

    @property
    def wanted(self) -> tuple[Task, ...]:
        """The tasks that run or shall run."""
        return tuple(task for task in self.tasks if task.phase in (Phase.RUNNING, Phase.COMING, Phase.LOST))

    @property
    def leaving(self) -> int:
        """How many tasks are on their way to a stop."""
        return sum(task.phase is Phase.LEAVING for task in self.tasks)

    def running_at(self, version: Version) -> int:
        """Count the tasks of that version that run."""
        return sum(task.version == version for task in self.running)


class Finding(Enum):
    """How an update stands."""

    WAIT = auto()
    ARRIVED = auto()
    """Every task is new and runs; where the engine watches an update, it has ended that well."""
    FAILED = auto()
    """It will not end well, and the service still has our version."""
    ROLLING_BACK = auto()
    ROLLED_BACK = auto()
    """The engine has put the old specification back and says that it has ended."""
    SUPERSEDED = auto()


def judge(view: View, target: Version, before: Version) -> Finding:
    """Tell how our update from `before` to `target` stands, once it was ordered.

    A state of an earlier update cannot be met here: ordering ours has reset it
    (swarmkit: manager/controlapi/service.go `UpdateService`). Where a change in mid-update ended the engine's watch, it
    says `completed` at once and starts the rest in silence, so that tasks that keep falling over are for us to see.
    """
    now = specs.version(view.spec)
    if now == target:
        if view.update_state in ("", "completed"):
            if converged(view, target):
                return Finding.ARRIVED
            broken = (task for task in view.tasks if task.version == target and task.broken)
            return Finding.FAILED if _falls_again(broken) else Finding.WAIT
        return Finding.WAIT if view.update_state == "updating" else Finding.FAILED
    if now == before and view.update_state.startswith("rollback"):
        return Finding.ROLLING_BACK if view.update_state == "rollback_started" else Finding.ROLLED_BACK
    return Finding.SUPERSEDED


def judge_job(view: View, target: Version) -> Finding:
    """Tell how the run of a job stands, once it was ordered: done when as many tasks as wanted ended well.

    A run fails where a task ended badly and the engine makes no other in its place.
    """
    if specs.version(view.spec) != target:
        return Finding.SUPERSEDED
    ours = [task for task in view.tasks if task.version == target]
    done = {task.place for task in ours if task.state == "complete"}
    open_ = [task for task in ours if task.phase is not Phase.ENDED]
    total = specs.completions_of(view.spec)
    if not open_ and done and (len(done) >= total if total is not None else done >= {task.place for task in ours}):
        return Finding.ARRIVED
    return Finding.FAILED if ours and not open_ else Finding.WAIT


def converged(view: View, version: Version) -> bool:
    """Tell whether exactly the tasks that shall run do run, each of that version."""
    wanted = view.wanted
    if any(task.phase is not Phase.RUNNING or task.version != version for task in wanted):
        return False
    if specs.mode_of(view.spec) is specs.Mode.REPLICATED:
        return len(wanted) == specs.replicas_of(view.spec)
    return bool(wanted) or not view.nodes.usable


def calm(view: View) -> bool:
    """Tell whether no update is under way, nor about to be: the engine is silent about one that it has not begun."""
    return not view.updating and (bool(view.update_state) or converged(view, specs.version(view.spec)))


def waited_for_in_vain(view: View, version: Version) -> frozenset[str]:
    """Find the new tasks for which the engine's updater waits though it gave them up itself.

    Where the node of a new task goes down before the task runs, the engine starts another in its place, which runs,
    while its updater waits for the first one for ever (measured on Engine 26). None while a new task is on its way.
    """
    ours = [task for task in view.tasks if task.version == version]
    if not view.updating or any(task.phase is Phase.COMING for task in ours):
        return frozenset()
    replaced = {task.place for task in ours if task.phase is Phase.RUNNING}
    return frozenset(task.id for task in ours if task.was_lost_on_its_way and task.place in replaced)


def lacks_room(view: View, version: Version) -> bool:
    """Tell whether new tasks wait for the places of old ones, could take them, and none is on its way by itself."""
    coming = [task for task in view.tasks if task.version == version and task.phase is Phase.COMING]
    return bool(coming) and all(task.has_no_room for task in coming) and gives_room(view, version)


def gives_room(view: View, version: Version) -> bool:
    """Tell whether each node of a task that is not of this version takes a new one in its place.

    A node that was paused or drained does not: the old task would be stopped, and neither version start again.
    """
    return all(task.node_open for task in view.running if task.version != version)


def culprit(tasks: Iterable[Task], version: Version, message: str = "") -> Task | None:
    """Find the task to blame: the one that the engine's message names, else the newest broken or waiting one."""
    ours = [task for task in tasks if task.version == version]
    named = [task for task in ours if task.id in message]
    broken = [task for task in ours if task.broken]
    waiting = [task for task in ours if task.phase is not Phase.RUNNING and task.error]
    unfinished = [task for task in ours if task.phase is Phase.COMING]
    found = named or broken or waiting or unfinished
    return found[-1] if found else None


def restored(view: View, version: Version, ran_before: int) -> bool:
    """Tell whether the version before runs again as far as it did; a service that was not whole need not become so."""
    if view.updating:
        return False
    return converged(view, version) or (ran_before <= view.running_at(version) and not _stray(view, version))


def _stray(view: View, version: Version) -> bool:
    """Tell whether tasks of another version run or shall run."""
    return any(task.version != version for task in view.wanted)


def judge_scaling(view: View, *, target: int, before: int, tasks_before: tuple[str, ...]) -> Finding:
    """Tell how a change of the number of replicas from `before` to `target` stands, once it was ordered.

    It fails early where two tasks in a row of the same new copy end badly.
    """
    if specs.replicas_of(view.spec) != target:
        return Finding.SUPERSEDED
    if target < before:
        return Finding.WAIT if view.leaving or len(view.wanted) > target else Finding.ARRIVED
    if len(view.running) >= target:
        return Finding.ARRIVED
    broken = (task for task in view.tasks if task.broken and task.id not in tasks_before)
    return Finding.FAILED if _falls_again(broken) else Finding.WAIT


def _falls_again(broken: Iterable[Task]) -> bool:
    """Tell whether two of these are the same copy, one after the other."""
    places = [task.place for task in broken]
    return len(places) > len(set(places))
