"""Services, their containers, and an engine's snapshots of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tutumd.model.images import ImageFacts


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
class ContainerFacts:
    """Facts that an engine and the store know about a container.

    Attributes:
        image_digest: `sha256:…` of the manifest if known, else of the image; None if there is no image.
    """

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
class ContainerSnapshot(ContainerFacts):
    """A container as its engine reports it.

    Attributes:
        id: The engine's own ID: container ID, task ID or process key. A new container has a new ID.
    """

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(ContainerFacts):
    """A container in the store. `uuid` is tutumd's identifier, `object_id` the engine's."""

    uuid: str
    object_id: str
    service_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """Facts that an engine and the store know about a service.

    Attributes:
        selector: Identifies the service in its engine instance; never an object ID. It stays the same for as long as a
            person would consider it the same service.
        stack: Compose project or Swarm stack; empty if there is none.
        full_name: Name for people, with the stack or another distinguishing part, such as `shop/web`.
        target: Number of containers that the service should have, even while an action is working on it; for a stopped
            service, after its start.
        deployed: Creation time of its newest container.
        autorestart, variables: Of its containers: the restart policy, and the names of the environment variables that
            they were given, without those of the image. A service of the local engine has them in its definition.
        warnings: Sentences about oddities of the service or its labels.
        notes: Sentences for callers that redeploy the service.
        left_tags: Sentences about tags of earlier calls that a redeploy without a tag replaces or keeps.
        settings: The labels that people set to configure it: names and values, unchanged.
        rollback_refusal: Sentence that says why the service cannot be rolled back at present; empty if it can.
        part_of: Stack for groups, by the label `tutum.stack`; empty: `stack`.
        after: Names of the services of that stack that it depends on: Compose's label, or `tutum.after`.
    """

    selector: str
    name: str
    target: int
    stack: str = ""
    full_name: str = ""
    image_name: str = ""
    image_digest: str | None = None
    run_command: str = ""
    deployed: datetime | None = None
    autorestart: Autorestart = Autorestart.OFF
    variables: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_tags: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    rollback_refusal: str = ""
    part_of: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSnapshot(ServiceFacts):
    """A service as its engine reports it.

    Attributes:
        full_name: Empty: `STACK/NAME`, or the name if there is no stack.
        alias: Another name that people give it; empty if there is none.
        owner: The user in the label `tutum.owner`; None if it is missing or contradictory.
        stopped: It was stopped on purpose: nothing runs, and nothing will restart it.
        service_cap: Maximum number of containers to which it may be scaled (label `tutum.scale.max`); None: the
            server's limit.
        image: The image that its newest container runs; None if it is unknown.
    """

    containers: tuple[ContainerSnapshot, ...]
    alias: str = ""
    owner: str | None = None
    stopped: bool = False
    service_cap: int | None = None
    image: ImageFacts | None = None

    @property
    def running(self) -> int:
        """Number of running containers."""
        return sum(container.state is ContainerState.RUNNING for container in self.containers)

    @property
    def state(self) -> ServiceState:
        """The state while no action is in progress on the service."""
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
class ServiceHold:
    """The hold of a service: its REDEPLOY actions wait.

    Attributes:
        until: End of the hold; None: until somebody resumes the service.
        reason: Text of the person who set it; may be empty.
        by: Name of the user, or of the handler whose call rolled back.
        is_of_rollback: A rollback set it.
    """

    until: datetime | None
    reason: str
    by: str
    since: datetime
    is_of_rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(ServiceFacts):
    """A service in the store.

    Attributes:
        owner: Name of the user who owns it.
        bound: Whether its engine currently reports it.
        definition: Definition of what it runs; only for services of the local engine.
        containers: UUIDs of the present containers, oldest first.
        gone_since: Time since which its engine has not reported it; None while it does.
        hold: Its hold; None if its redeploys are not held.
    """

    uuid: str
    engine: str
    engine_kind: str
    owner: str
    bound: bool
    state: ServiceState
    running: int
    stopped: int
    definition: Definition | None
    created: datetime
    containers: tuple[str, ...]
    gone_since: datetime | None = None
    hold: ServiceHold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceGroup:
    """Number of a viewer's services with these values.

    Attributes:
        bound: As in `Service`; the state of an unbound service is meaningless.
        number: Number of services that match a search; 0 if none does.
    """

    engine: str
    stack: str
    bound: bool
    state: ServiceState
    number: int
