"""Tasks of a Swarm service as values: what each is meant to do, what it does, and which version it is of."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tutumd.engines.dockerapi.times import parse_time
from tutumd.engines.labels import Json
from tutumd.engines.swarm.version import Version, version_of


class Phase(StrEnum):
    """Where a task is in its life, as far as we tell tasks apart."""

    COMING = "coming"
    RUNNING = "running"
    LOST = "lost"
    LEAVING = "leaving"
    ENDED = "ended"


# Docker Engine API v1.44 TaskState, in the order of a task's life.
_COMING = frozenset({"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"})
# A task that was told to stop is `shutdown`; `complete` is one that ended well by itself, or was found unhealthy.
_BROKEN = frozenset({"failed", "rejected", "complete"})
# swarmkit: manager/scheduler/filter.go `platformEqual`.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# swarmkit: manager/scheduler/filter.go, what `Explain` says of nodes that would do if others left them.
_NO_ROOM = ("insufficient resources", "max replicas per node limit exceed", "host-mode port already in use")
_UNWANTED = frozenset({"shutdown", "remove", "orphaned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task.

    Attributes:
        place: Its slot's number, or in global mode the node's name: what tells its kind of copy from the others.
        state: The engine's own word.
        error: The engine's own words about why it does not run; empty where there are none.
        wanted: The engine wants it to run.
        node_ready: Its node answers; True while it has no node.
        node_open: Its node takes new tasks; True while it has no node.
        version: Image and restart count that it was made for.
    """

    id: str
    place: str
    state: str
    wanted: bool
    node_ready: bool
    version: Version
    node_open: bool = True
    error: str = ""
    exit_code: int | None = None
    created: datetime | None = None
    started: datetime | None = None

    @property
    def phase(self) -> Phase:
        """Where it is in its life. On a node that does not answer nothing counts as running."""
        if self.state == "starting" and not self.wanted and self.node_ready:
            return Phase.LEAVING  # its container runs already, and has to be stopped
        if self.state in _COMING:
            return Phase.COMING if self.wanted else Phase.ENDED
        if self.state != "running":
            return Phase.ENDED
        if not self.node_ready:
            return Phase.LOST if self.wanted else Phase.ENDED
        return Phase.RUNNING if self.wanted else Phase.LEAVING

    @property
    def was_lost_on_its_way(self) -> bool:
        """Its node went down before it ran, and the engine does not want it any more."""
        return self.state in _COMING and not self.wanted and not self.node_ready

    @property
    def has_no_room(self) -> bool:
        """No node takes it as long as other tasks keep their places there."""
        return self.phase is Phase.COMING and any(text in self.error for text in _NO_ROOM)

    @property
    def broken(self) -> bool:
        """It ended though it was to run on."""
        return self.state in _BROKEN


def read_task(task: Json, nodes: "Nodes") -> Task:
    """Read one task of the engine's list."""
    status: Json = task.get("Status") or {}
    container: Json = status.get("ContainerStatus") or {}
    node = task.get("NodeID") or ""
    state = status.get("State", "new")
    code = container.get("ExitCode") if state in ("complete", "shutdown", "failed") else None
    return Task(
        id=task["ID"],
        place=str(task["Slot"]) if task.get("Slot") else nodes.host(node),
        state=state,
        wanted=task.get("DesiredState") not in _UNWANTED,
        node_ready=not node or node in nodes.ready,
        node_open=not node or node in nodes.open,
        version=version_of(task.get("Spec") or {}),
        error=status.get("Err") or "",
        exit_code=code,
        created=parse_time(task.get("CreatedAt")),
        started=parse_time(status.get("Timestamp")) if state == "running" else None,
    )


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the swarm, as far as tasks need them: those that answer, and their names."""

    ready: frozenset[str]
    names: tuple[tuple[str, str], ...]
    open: frozenset[str]
    """Those that take new tasks."""
    platforms: frozenset[tuple[str, str]]
    """Operating system and architecture of those that do, in the words of images."""

    @property
    def usable(self) -> int:
        """How many take new tasks."""
        return len(self.open)

    def host(self, node: str) -> str:
        """Return the name of a node, with the beginning of its ID where others have the same; else only that."""
        name = dict(self.names).get(node, "")
        is_shared = sum(other == name for _, other in self.names) > 1
        return "-".join(part for part in (name, "" if name and not is_shared else node[:12]) if part)


def read_nodes(nodes: Iterable[Any]) -> Nodes:
    """Read the engine's list of nodes."""
    rows = list(nodes)
    ready = {row["ID"] for row in rows if (row.get("Status") or {}).get("State") == "ready"}
    usable = [row for row in rows if row["ID"] in ready and (row.get("Spec") or {}).get("Availability") == "active"]
    names = tuple((row["ID"], str((row.get("Description") or {}).get("Hostname") or "")) for row in rows)
    platforms = frozenset(_platform((row.get("Description") or {}).get("Platform") or {}) for row in usable)
    return Nodes(
        ready=frozenset(ready),
        names=names,
        open=frozenset(row["ID"] for row in usable),
        platforms=platforms - {("", "")},
    )


def _platform(platform: Json) -> tuple[str, str]:
    architecture = str(platform.get("Architecture") or "")
    return str(platform.get("OS") or ""), _ARCHITECTURES.get(architecture, architecture)
