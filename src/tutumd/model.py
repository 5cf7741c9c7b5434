"""The words of the domain as values: services, webhook handlers, actions, deliveries, accounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Operation(StrEnum):
    """What a webhook handler does."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"


class Verb(StrEnum):
    """What an action does. The first two are also operations of handlers."""

    REDEPLOY = "REDEPLOY"
    SCALEUP = "SCALEUP"
    SCALE = "SCALE"
    START = "START"
    STOP = "STOP"
    TERMINATE = "TERMINATE"


class ActionState(StrEnum):
    """Source: the old API documentation (wire contract, section 4)."""

    PENDING = "Pending"
    IN_PROGRESS = "In progress"
    CANCELING = "Canceling"
    CANCELED = "Canceled"
    SUCCESS = "Success"
    FAILED = "Failed"


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


class DeliveryOutcome(StrEnum):
    """What became of a call when it arrived."""

    QUEUED = "queued"
    JOINED = "joined"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    REFUSED = "refused"
    REPEATED = "repeated"


class Autorestart(StrEnum):
    """When a process of the local engine is started again after it exits."""

    OFF = "OFF"
    ON_FAILURE = "ON_FAILURE"
    ALWAYS = "ALWAYS"


MAX_AMOUNT = 100
"""The most containers that one SCALEUP call may add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with API keys. An admin sees every service, a member only the own ones."""

    uuid: str
    name: str
    is_admin: bool
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A stored API key: only its SHA-256 is kept; `hint` is its first characters, to tell keys apart."""

    user_name: str
    hint: str
    created: datetime


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
        max_containers: The most that it may be scaled to (label `tutum.scale.max`); None means the server's own.
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
    max_containers: int | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The URL that a handler had before, which may still be called until `old_until`."""

    old_until: datetime
    old_called: datetime | None
    old_address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A webhook handler. Its UUID is a credential: whoever knows it may call it.

    Attributes:
        options: What is set beyond the specification, as a JSON document; empty where nothing is.
        calls: How many calls it received in all, whatever became of them.
    """

    uuid: str = field(repr=False)
    service_uuid: str
    name: str | None
    operation: Operation
    created: datetime
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    calls: int = 0
    last_called: datetime | None = None
    rotation: Rotation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHandler:
    """A handler to create. `options` as in Handler."""

    name: str | None = None
    operation: Operation = Operation.REDEPLOY
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked for something, as far as the edge can tell."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a handler's options say about a call, for what the store itself keeps to.

    Attributes:
        version: Of the options that were looked at; while the handler has others, the call is not stored.
        skip: Why the call does nothing; empty where it counts.
        refuse: Why the call is not believed; empty where it is.
        variable: Name and value of the environment variable that the new containers get; None: must not have.
        rate: Calls and the seconds in which there may be so many.
    """

    version: int
    skip: str = ""
    refuse: str = ""
    tag: str | None = None
    variable: tuple[str, str | None] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    max_uses: int | None = None
    max_containers: int | None = None
    rate: tuple[int, int] | None = None
    debounce_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One POST to a handler's URL, checked as far as that goes without the store.

    Attributes:
        amount: Containers to add, 1 to 100. REDEPLOY ignores it.
        body_size: In bytes.
        content: What is kept for looking at it later, as JSON: headers, query and body.
        key: What stays the same when a sender repeats a delivery; None where nothing does.
        judged: None where nobody looked at the handler's options yet.
        asks: It carries what only options allow, so that they must be looked at even if there are none.
    """

    service_uuid: str
    handler_uuid: str = field(repr=False)
    amount: int
    origin: Origin
    body_size: int
    content: str = field(default="", repr=False)
    key: str | None = None
    judged: Judged | None = None
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A call that is on disk: what the handler is, and the action that carries the call out."""

    name: str | None
    operation: Operation
    action_uuid: str
    handler_seq: int
    action_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unjudged:
    """A call that was not stored: its handler has these options, and nobody has looked at them.

    Attributes:
        uses: How many calls the handler accepted so far; counted only where it has a limit of them. 0 for a call that
            repeats one of them.
    """

    options: Mapping[str, Any] = field(repr=False)
    version: int
    uses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A call that is on disk and does nothing: `judged` of the call says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One received POST to a handler's URL. `body_size` is in bytes.

    Attributes:
        number: Grows with each delivery.
        action_uuid: None where it caused nothing; `reason` then says why.
        content: Headers, query and body as far as they were kept; only where a single delivery is read.
        raw: The same as it was stored.
    """

    number: int
    action_uuid: str | None
    amount: int
    received: datetime
    address: str
    user_agent: str
    body_size: int
    outcome: DeliveryOutcome
    reason: str = ""
    tag: str | None = None
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    raw: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """An action as a holder of the handler's URL may see it. `options` are those of the handler."""

    action: "Action"
    options: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One step of an action's run, in a few words. `number` grows with each line."""

    number: int
    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an engine made of an action. `containers_*` are the engine's own IDs.

    Attributes:
        reason: On failure why, for people; on success what is worth saying (empty otherwise).
        log_tail: On failure the last output lines of what failed.
        rolled_back: The service was changed and then put back.
        image_before, image_after: `sha256:…`, None where unknown.
        canceled: It was ended on request, not by a fault; `success` is then False.
    """

    success: bool
    canceled: bool = False
    reason: str = ""
    log_tail: str = ""
    rolled_back: bool = False
    image_before: str | None = None
    image_after: str | None = None
    containers_before: tuple[str, ...] = ()
    containers_after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a REDEPLOY would do now. Nothing was touched to find out.

    Attributes:
        refused: Why it would fail before anything is touched; empty where it would go ahead.
        order: `start-first`, `stop-first`, or the engine's own word for how it rolls (`rolling`, `recreate`).
        order_reason: Why this order, in a sentence; for stop-first, what forbids start-first.
        image_before: `sha256:…` of what runs, None where unknown.
        image_after: `sha256:…` that the image's name stands for now, None where it cannot be told before the pull.
        steps: What would be done, in order, a few words each.
        notes: Sentences for people: what is worth knowing before it is done.
    """

    refused: str = ""
    order: str = ""
    order_reason: str = ""
    image_name: str = ""
    image_before: str | None = None
    image_after: str | None = None
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One run of a verb on a service. `containers_*` are UUIDs of containers.

    Attributes:
        target: Absolute number of containers; for SCALEUP None until the run fixed it.
        deliveries: How many calls it carries out.
        created: When it was asked for; `started` when a worker first claimed it.
        tag: Of the image, for a REDEPLOY; None: the image's name stays.
        variables: Environment variables that a REDEPLOY sets in the new containers; None removes one.
    """

    uuid: str
    service_uuid: str
    verb: Verb
    state: ActionState
    target: int | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    address: str
    user_agent: str
    deliveries: int
    reason: str
    log_tail: str
    rolled_back: bool
    image_before: str | None
    image_after: str | None
    containers_before: tuple[str, ...]
    containers_after: tuple[str, ...]
    tag: str | None = None
    variables: Mapping[str, str | None] = field(default_factory=dict, repr=False)

    @property
    def can_be_canceled(self) -> bool:
        """Whether a cancel would still do something."""
        return self.state in (ActionState.PENDING, ActionState.IN_PROGRESS)

    @property
    def can_be_retried(self) -> bool:
        """Whether it ended in a way that makes another try worth while."""
        return self.state in (ActionState.FAILED, ActionState.CANCELED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An action that this worker holds until its lease ends. `token` changes with every claim.

    Attributes:
        cancel: It was to be canceled already when it was claimed.
    """

    action: Action
    service: Service
    token: int
    attempts: int
    journal: Mapping[str, object]
    cancel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """An engine instance that a worker serves.

    Attributes:
        name: Of the instance, part of every selector of its services.
        kind: `local`, `docker`, `swarm` or `kubernetes`.
        creates: Services can be created on it and terminated.
        error: Why it could not be reached at the last try; empty when it could.
        seen: When its worker last told that it lives; only in what the store answers.
    """

    name: str
    kind: str
    creates: bool
    error: str = ""
    seen: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Filters, already checked, and the page wanted: `limit` 1 to 100, `offset` from 0."""

    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int = 25
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list and how many objects there are in all."""

    objects: tuple[T, ...]
    total: int
