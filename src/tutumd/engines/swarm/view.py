"""A Swarm service with its tasks and nodes at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import cast

from tutumd.engines.dockerapi.documents import parse_time
from tutumd.engines.labels import Json
from tutumd.engines.swarm import spec as specs


class TaskPhase(StrEnum):
    """The phase of a task's life."""

    STARTING = "starting"
    RUNNING = "running"
    LOST = "lost"
    STOPPING = "stopping"
    ENDED = "ended"


# Docker Engine API v1.44 TaskState, in the order of a task's life.
_STARTING = frozenset({"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"})
# A task that the engine has stopped on request is `shutdown`. A `complete` task exited by itself or was found
# unhealthy.
_ENDED_EARLY = frozenset({"failed", "rejected", "complete"})
_UNDESIRED = frozenset({"shutdown", "remove", "orphaned"})
# swarmkit: manager/scheduler/filter.go `platformEqual`.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# swarmkit: manager/scheduler/filter.go, texts of `Explain` about nodes that other tasks occupy.
_NO_ROOM = ("insufficient resources", "max replicas per node limit exceed", "host-mode port already in use")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task.

    Attributes:
        slot: Number of the replica, or in global mode the node's name. A task and its replacement share it.
        state: The engine's own word.
        error: The engine's reason why the task does not run; empty if there is none.
        desired: Whether the engine wants the task to run.
        node_ready: Whether its node responds; True while it has no node.
        node_open: Whether its node accepts new tasks; True while it has no node.
        phase: Phase of the task. On a node that does not respond, no task counts as running.
        lost_before_start: Whether its node went down before it ran, so that the engine gave it up.
        lacks_room: Whether no node accepts it as long as other tasks keep their places.
        ended_early: Whether it ended although nobody stopped it.
        exited: Whether it ended early, after its container started on the node.
    """

    id: str
    slot: str
    state: str
    desired: bool
    node_ready: bool
    version: specs.Version
    node_open: bool = True
    error: str = ""
    exit_code: int | None = None
    created: datetime | None = None
    started: datetime | None = None

    @property
    def phase(self) -> TaskPhase:
        if self.state == "starting" and not self.desired and self.node_ready:
            return TaskPhase.STOPPING  # its container already runs, and must be stopped
        if self.state in _STARTING:
            return TaskPhase.STARTING if self.desired else TaskPhase.ENDED
        if self.state != "running":
            return TaskPhase.ENDED
        if not self.node_ready:
            return TaskPhase.LOST if self.desired else TaskPhase.ENDED
        return TaskPhase.RUNNING if self.desired else TaskPhase.STOPPING

    @property
    def lost_before_start(self) -> bool:
        return self.state in _STARTING and not self.desired and not self.node_ready

    @property
    def lacks_room(self) -> bool:
        return self.phase is TaskPhase.STARTING and any(text in self.error for text in _NO_ROOM)

    @property
    def ended_early(self) -> bool:
        return self.state in _ENDED_EARLY

    @property
    def exited(self) -> bool:
        return self.ended_early and self.state != "rejected"


def read_task(task: Json, nodes: "Nodes") -> Task:
    """Return one task of the engine's list."""
    status: Json = task.get("Status") or {}
    node = task.get("NodeID") or ""
    state = status.get("State", "new")
    return Task(
        id=task["ID"],
        slot=str(task["Slot"]) if task.get("Slot") else nodes.host(node),
        state=state,
        desired=task.get("DesiredState") not in _UNDESIRED,
        node_ready=not node or node in nodes.ready,
        node_open=not node or node in nodes.open,
        version=specs.version_of(task.get("Spec") or {}),
        error=status.get("Err") or "",
        exit_code=(status.get("ContainerStatus") or {}).get("ExitCode")
        if state in ("complete", "shutdown", "failed")
        else None,
        created=parse_time(task.get("CreatedAt")),
        started=parse_time(status.get("Timestamp")) if state == "running" else None,
    )


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the swarm.

    Attributes:
        ready: IDs of the nodes that respond.
        names: ID and host name of each.
        open: IDs of the nodes that accept new tasks.
        platforms: Operating systems and architectures of the open nodes, in the terms of images.
    """

    ready: frozenset[str]
    names: tuple[tuple[str, str], ...]
    open: frozenset[str]
    platforms: frozenset[tuple[str, str]]

    def host(self, node: str) -> str:
        """Return the name of a node. The start of its ID replaces a missing name, and follows a name that other nodes
        share.
        """
        name = dict(self.names).get(node, "")
        is_shared = sum(other == name for _, other in self.names) > 1
        return "-".join(part for part in (name, "" if name and not is_shared else node[:12]) if part)


def read_nodes(rows: Sequence[Json]) -> Nodes:
    """Return the nodes of the engine's list."""
    ready = {row["ID"] for row in rows if (row.get("Status") or {}).get("State") == "ready"}
    usable = [row for row in rows if row["ID"] in ready and (row.get("Spec") or {}).get("Availability") == "active"]
    return Nodes(
        ready=frozenset(ready),
        names=tuple((row["ID"], str((row.get("Description") or {}).get("Hostname") or "")) for row in rows),
        open=frozenset(row["ID"] for row in usable),
        platforms=frozenset(_platform((row.get("Description") or {}).get("Platform") or {}) for row in usable)
        - {("", "")},
    )


def _platform(platform: Json) -> tuple[str, str]:
    architecture = str(platform.get("Architecture") or "")
    return str(platform.get("OS") or ""), _ARCHITECTURES.get(architecture, architecture)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A service at one moment.

    Attributes:
        service: As inspected.
        tasks: Oldest first; `running` are the running tasks, `desired` those that run or should run.
        stopping: Number of tasks that are stopping.
        status: The engine's report on the last update; empty if there is none.
        update_state: The state of the last update in the engine's term; empty if there is none.
        updating: Whether the engine is working on an update.
    """

    service: Json
    tasks: tuple[Task, ...]
    nodes: Nodes

    @property
    def spec(self) -> Json:
        return cast(Json, self.service["Spec"])

    @property
    def version(self) -> specs.Version:
        return specs.version(self.spec)

    @property
    def status(self) -> Json:
        return self.service.get("UpdateStatus") or {}

    @property
    def update_state(self) -> str:
        return str(self.status.get("State") or "")

    @property
    def updating(self) -> bool:
        return self.update_state in ("updating", "rollback_started")

    @property
    def running(self) -> tuple[Task, ...]:
        return tuple(task for task in self.tasks if task.phase is TaskPhase.RUNNING)

    @property
    def desired(self) -> tuple[Task, ...]:
        return tuple(
            task for task in self.tasks if task.phase in (TaskPhase.RUNNING, TaskPhase.STARTING, TaskPhase.LOST)
        )

    @property
    def stopping(self) -> int:
        return sum(task.phase is TaskPhase.STOPPING for task in self.tasks)

    def running_at(self, version: specs.Version) -> int:
        """Return the number of running tasks of a version."""
        return sum(task.version == version for task in self.running)

    def of(self, version: specs.Version) -> tuple[Task, ...]:
        """Return the tasks of a version, including ended tasks."""
        return tuple(task for task in self.tasks if task.version == version)
