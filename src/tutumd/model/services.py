"""Services, their containers, what an engine shows of them, and engines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ServiceState(StrEnum):
    """Source: the old API documentation (wire contract, section 4)."""

    NOT_RUNNING = "Not running"
    STARTING = "Starting"
    RUNNING = "Running"
    PARTLY_RUNNING = "Partly running"
    SCALING = "Scaling"
    REDEPLOYING = "Redeploying"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"


class ContainerState(StrEnum):
    """Source: the old API documentation (wire contract, section 4)."""

    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"


class Autorestart(StrEnum):
    """When a process of the local engine is started again after it exits."""

    OFF = "OFF"
    ON_FAILURE = "ON_FAILURE"
    ALWAYS = "ALWAYS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of a container; `outer` is the host's, None where it is not published."""

    inner: int
    outer: int | None
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the local engine runs: the only services that are created through tutumd.

    Attributes:
        command: Run by `/bin/sh -c`; never empty.
        envvars: Added to a clean environment.
        working_dir: Empty means the process's own folder below the data folder.
    """

    command: str
    envvars: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    autorestart: Autorestart = Autorestart.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSnapshot:
    """One container as its engine shows it.

    Attributes:
        id: The engine's own ID (container ID, task ID, process key); a new container has a new one.
        image_digest: `sha256:…` of the manifest where known, else of the image; None where there is no image.
    """

    id: str
    name: str
    state: ContainerState
    image_name: str = ""
    image_digest: str | None = None
    run_command: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    stopped: datetime | None = None
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSnapshot:
    """One service as its engine shows it.

    Attributes:
        selector: What the service is bound by; never an object ID. Same for as long as a person would say
            that it is the same service, and unique within the engine instance.
        stack: Compose project or Swarm stack; empty where there is none.
        owner: The user named by the label `tutum.owner`; None where the label is absent or contradictory.
        target: Containers that the service should have. For a stopped service: what it would have when started.
        stopped: True when it was stopped on purpose: nothing of it runs and nothing will by itself.
        deployed: When its newest container was created.
        service_cap: The most that it may be scaled to (label `tutum.scale.max`); None means the server's own.
        warnings: Sentences for people: what is odd about the service or its labels.
    """

    selector: str
    name: str
    target: int
    containers: tuple[ContainerSnapshot, ...]
    stack: str = ""
    owner: str | None = None
    stopped: bool = False
    image_name: str = ""
    image_digest: str | None = None
    run_command: str = ""
    deployed: datetime | None = None
    service_cap: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def running(self) -> int:
        """How many of its containers run."""
        return sum(container.state is ContainerState.RUNNING for container in self.containers)

    @property
    def state(self) -> ServiceState:
        """The state while no action works on the service."""
        if self.stopped:
            return ServiceState.STOPPED
        if self.running and self.running >= self.target:
            return ServiceState.RUNNING
        if self.running:
            return ServiceState.PARTLY_RUNNING
        if any(container.state is ContainerState.STARTING for container in self.containers):
            return ServiceState.STARTING
        return ServiceState.NOT_RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container as the store knows it. Its UUID is ours; `object_id` is the engine's."""

    uuid: str
    object_id: str
    service_uuid: str
    name: str
    state: ContainerState
    image_name: str
    image_digest: str | None
    run_command: str
    exit_code: int | None
    started: datetime | None
    stopped: datetime | None
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service as the store knows it.

    Attributes:
        owner: Name of the user whom it belongs to.
        bound: False while its engine does not show it.
        target: Containers that it should have, also while an action still works towards that.
        definition: What to run; only for services of the local engine.
    """

    uuid: str
    engine: str
    engine_kind: str
    selector: str
    name: str
    stack: str
    owner: str
    bound: bool
    state: ServiceState
    target: int
    running: int
    stopped: int
    image_name: str
    image_digest: str | None
    run_command: str
    definition: Definition | None
    deployed: datetime | None
    created: datetime
    warnings: tuple[str, ...]
    containers: tuple[str, ...]
    """UUIDs of the present containers, oldest first."""
