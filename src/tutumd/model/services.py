"""Services, their containers, and an engine's snapshots of them."""

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
    """When the engine restarts a container that has exited."""

    OFF = "OFF"
    ON_FAILURE = "ON_FAILURE"
    ALWAYS = "ALWAYS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of a container. `outer` is the port of the host; None if it is not published."""

    inner: int
    outer: int | None
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a service of the local engine runs. Only such services are created through tutumd.

    Attributes:
        command: Command for `/bin/sh -c`; never empty.
        envvars: Variables added to a clean environment.
        working_dir: Empty: the process's own folder in the data folder.
    """

    command: str
    envvars: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    autorestart: Autorestart = Autorestart.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSnapshot:
    """A container as its engine reports it.

    Attributes:
        id: The engine's own ID: container ID, task ID or process key. A new container has a new one.
        image_digest: `sha256:…` of the manifest if known, else of the image; None if there is no image.
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
    """A service as its engine reports it.

    Attributes:
        selector: Identifies the service in its engine instance; never an object ID. It stays the same for as long as
            a person would call it the same service.
        stack: Compose project or Swarm stack; empty if there is none.
        full_name: Name for people, with the stack or what else tells it from others; empty: `STACK/NAME`.
        alias: Another name that people give it; empty if there is none.
        owner: The user in the label `tutum.owner`; None if it is missing or contradictory.
        target: Containers that the service should have; for a stopped service, once it is started.
        stopped: It was stopped on purpose: nothing runs, and nothing will restart it.
        deployed: When its newest container was created.
        service_cap: Containers that it may be scaled to (label `tutum.scale.max`); None: the server's cap.
        variables: Names of the environment variables that its containers were given, without those of the image.
        warnings: Sentences about oddities of the service or its labels.
        notes: Sentences for callers that redeploy the service.
        left_tags: Sentences about tags of earlier calls that a redeploy without a tag leaves.
        settings: The labels that people set to configure it: names and values, as they were found.
    """

    selector: str
    name: str
    target: int
    containers: tuple[ContainerSnapshot, ...]
    stack: str = ""
    full_name: str = ""
    alias: str = ""
    owner: str | None = None
    stopped: bool = False
    image_name: str = ""
    image_digest: str | None = None
    run_command: str = ""
    deployed: datetime | None = None
    service_cap: int | None = None
    autorestart: Autorestart = Autorestart.OFF
    variables: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_tags: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def running(self) -> int:
        """Number of running containers."""
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
    """A container in the store. `uuid` is ours, `object_id` the engine's."""

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
    """A service in the store.

    Attributes:
        full_name: Name for people, with its stack: `shop/web`. On Kubernetes with its namespace.
        owner: Name of the user who owns it.
        bound: Whether its engine shows it at present.
        target: Containers that it should have, even while an action is still working on that.
        definition: What it runs; only for services of the local engine.
        autorestart, variables: Of its containers; for services of the local engine, `definition` has them.
        containers: UUIDs of the present containers, oldest first.
        gone_since: Since when its engine has not shown it; None while it does.
        notes, settings: As of `ServiceSnapshot`.
    """

    uuid: str
    engine: str
    engine_kind: str
    selector: str
    name: str
    stack: str
    full_name: str
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
    autorestart: Autorestart = Autorestart.OFF
    variables: tuple[str, ...] = ()
    deployed: datetime | None
    created: datetime
    warnings: tuple[str, ...]
    containers: tuple[str, ...]
    gone_since: datetime | None = None
    notes: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceGroup:
    """How many services of a viewer have these values.

    Attributes:
        bound: As of `Service`; without it, the state says nothing.
        number: Of those that match a search; 0 if none does.
    """

    engine: str
    stack: str
    bound: bool
    state: ServiceState
    number: int
