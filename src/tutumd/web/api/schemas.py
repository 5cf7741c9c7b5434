"""Schemas of JSON bodies. Dates look like `Mon, 13 Oct 2014 11:01:43 +0000`."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tutumd.application.admission.fields import FIELDS, HandlerField

Item = TypeVar("Item")


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _add_handler_fields_in(schema: dict[str, Any]) -> None:
    for name, field in FIELDS.items():
        schema["properties"][name] = {
            "anyOf": [field.schema, {"type": "null"}],
            "default": field.json_default,
            "description": _describe(field),
            "examples": [field.example],
        }
    schema["additionalProperties"] = False


def _add_handler_fields_out(schema: dict[str, Any]) -> None:
    for name, field in FIELDS.items():
        value = field.shown_schema or field.schema
        schema["properties"][name] = {
            **(value if field.json_default is not None else {"anyOf": [value, {"type": "null"}]}),
            "description": _describe(field),
        }
    schema["required"] = [*schema["required"], *FIELDS]
    schema["additionalProperties"] = False


def _describe(field: HandlerField) -> str:
    return f"{field.operation} only. {field.help}" if field.operation else field.help


class HandlerIn(_In):
    """A webhook handler to create or to change. Every field is optional; null resets it to its default.

    The fields of the table (`admission/fields.py`) are checked by the application.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_handler_fields_in)

    name: str | None = Field(None, description="At most 255 characters, no control characters.")
    operation: str | None = Field(None, description="REDEPLOY (default) or SCALEUP.")


class RotateIn(_In):
    """A request for a new URL of a handler."""

    grace: Any = Field(86_400, description="Seconds for which the old URL is still accepted, up to 30 days.")


class TestIn(_In):
    """A call to try."""

    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    body: Any = Field("", description="A text, or a JSON value.")
    address: str = Field("127.0.0.1", description="Address of the client.")


class Envvar(_In):
    """One environment variable."""

    key: str
    value: str


class ServicePatch(_In):
    """Changes to a service. Fields other than the target are for services that tutumd runs itself."""

    name: str | None = None
    image: str | None = Field(None, description="Free text on the local engine.")
    run_command: str | None = Field(None, description="Run by /bin/sh -c.")
    container_envvars: list[Envvar] | None = None
    working_dir: str | None = Field(None, description="Absolute path; empty means a folder of its own.")
    autorestart: str | None = Field(None, description="OFF (default), ON_FAILURE or ALWAYS.")
    target_num_containers: int | None = Field(None, description="From 0 to the limit of the server.")


class ServiceIn(ServicePatch):
    """A service to create on an engine that runs commands. Fields of 2015 without effect may be sent empty."""

    engine: str | None = Field(None, description="Engine instance; default: the first that creates services.")
    autodestroy: Any = None
    autoredeploy: Any = None
    bindings: Any = None
    container_ports: Any = None
    cpu_shares: Any = None
    deployment_strategy: Any = None
    entrypoint: Any = None
    linked_to_service: Any = None
    memory: Any = None
    net: Any = None
    pid: Any = None
    privileged: Any = None
    roles: Any = None
    sequential_deployment: Any = None
    tags: Any = None

    def unsupported(self) -> list[str]:
        """Return the fields of 2015 that ask for something a command cannot have."""
        harmless: dict[str, tuple[Any, ...]] = {
            "autodestroy": ("OFF",),
            "deployment_strategy": ("EMPTIEST_NODE",),
            "net": ("bridge",),
            "pid": ("none",),
        }
        names = set(ServiceIn.model_fields) - set(ServicePatch.model_fields) - {"engine"}
        return sorted(
            name for name in names if getattr(self, name) and getattr(self, name) not in harmless.get(name, ())
        )


class MetaOut(BaseModel):
    """The place of a page in its list. `next` and `previous` are paths, null at the ends."""

    limit: int
    next: str | None
    offset: int
    previous: str | None
    total_count: int


class ListOut(BaseModel, Generic[Item]):
    """A page of a list."""

    meta: MetaOut
    objects: list[Item]


class HandlerNameOut(BaseModel):
    """A webhook handler. `url` is a secret: who knows it can call the handler."""

    url: str
    name: str | None
    operation: str
    resource_uri: str
    uuid: str


class RotationOut(BaseModel):
    """The URL that a handler had before."""

    old_until: str = Field(description="Its calls are accepted until then.")
    old_last_called_datetime: str | None
    old_last_address: str | None


class HandlerOut(HandlerNameOut):
    """A webhook handler with all its fields, also those of the table (`admission/fields.py`)."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_handler_fields_out)

    created_datetime: str
    last_called_datetime: str | None
    calls: int = Field(description="How many calls it received, also skipped and refused ones.")
    rotation: RotationOut | None


class UnusedHandlerOut(HandlerOut):
    """A webhook handler with its service."""

    service: str


class CallOut(HandlerNameOut):
    """The handler that was called, and the action that performs its operation."""

    action: str
    status_url: str = Field(description="Path of the action's progress, for the caller, without credentials.")
    notes: list[str] = Field([], description="Sentences for the caller; absent if there are none.")


class StepOut(BaseModel):
    """One check of a call."""

    check: str
    passes: bool
    why: str


class TestOut(BaseModel):
    """What a call would do."""

    verdict: str = Field(description="`go`, `skipped`, `unauthorized`, `not_found` or `invalid`.")
    status: int = Field(description="Status of the response.")
    reason: str
    tag: str | None
    variable: str | None
    notes: list[str]
    steps: list[StepOut]


class ProgressOut(BaseModel):
    """What a caller may see of the action of its call."""

    state: str
    reason: str
    operation: str
    created_datetime: str
    start_datetime: str | None
    end_datetime: str | None
    image_before: str | None
    image_after: str | None
    containers_before: int
    containers_after: int
    rolled_back: bool
    status_url: str
    log_tail: str = Field("", description="Only if the handler has `show_log`.")


class ServiceOut(BaseModel):
    """A service."""

    uuid: str
    resource_uri: str
    name: str
    state: str
    stack: str | None = Field(description="Compose project or Swarm stack.")
    engine: str = Field(description="Engine instance that it runs on.")
    owner: str
    synchronized: bool = Field(description="False while its engine does not list it.")
    image_name: str
    image_digest: str | None
    run_command: str
    target_num_containers: int
    current_num_containers: int
    running_num_containers: int
    stopped_num_containers: int
    containers: list[str] = Field(description="URIs; each new container has a new one.")
    deployed_datetime: str | None
    container_envvars: list[Envvar] = Field(description="Only of services that tutumd runs: others may hold secrets.")
    working_dir: str
    autorestart: str
    warnings: list[str]
    public_dns: str
    tags: list[str]


class PortOut(BaseModel):
    """A port of a container."""

    inner_port: int
    outer_port: int | None
    protocol: str


class ContainerOut(BaseModel):
    """A container; one that is gone is `Terminated` until it is forgotten."""

    uuid: str
    resource_uri: str
    name: str
    service: str
    state: str
    image_name: str
    image_digest: str | None
    run_command: str
    exit_code: int | None
    deployed_datetime: str | None
    started_datetime: str | None
    stopped_datetime: str | None
    container_ports: list[PortOut]
    public_dns: str
    node: str | None


class ActionOut(BaseModel):
    """One run of an operation on a service."""

    uuid: str
    resource_uri: str
    action: str
    operation: str
    state: str
    object: str
    start_date: str = Field(description="When it was created.")
    end_date: str | None
    reason: str = Field(description="Why it failed or waits; after a success often empty.")
    log_tail: str = Field(description="On failure the last output lines of what failed.")
    rolled_back: bool
    image_before: str | None
    image_after: str | None
    containers_before: list[str]
    containers_after: list[str]
    target_num_containers: int | None
    deliveries: int = Field(description="How many calls it performs.")
    ip: str
    location: str
    user_agent: str
    can_be_canceled: bool
    can_be_retried: bool


class DeliveryOut(BaseModel):
    """One call that a handler received."""

    id: int
    resource_uri: str
    received_datetime: str
    ip: str
    user_agent: str
    body_size: int
    amount: int
    tag: str | None
    outcome: str = Field(
        description="`queued`: it created an action; `joined`: it joined a pending one; `superseded`: it joined, "
        "and a later call replaced its tag or body; `skipped`, `refused`, `repeated`: it caused nothing."
    )
    reason: str
    action: str = Field(description="Empty if it caused nothing.")


class WholeDeliveryOut(DeliveryOut):
    """One call with its stored content."""

    headers: list[tuple[str, str]] = Field(description="Without those that contain secrets.")
    query: str
    body: str
    body_is_base64: bool
    body_is_cut: bool
    left_out: list[str] = Field(description="What else was not stored, because it is secret or too long.")


class LineOut(BaseModel):
    """One step of a run."""

    number: int
    time: str = Field(description="ISO 8601, in UTC.")
    text: str


class ActionLogsOut(BaseModel):
    """The steps of a run, as text and as lines."""

    logs: str
    lines: list[LineOut]


class PlanOut(BaseModel):
    """What a redeploy would do now. Nothing was changed."""

    possible: bool = Field(description="False: a redeploy would fail without any change.")
    reason: str = Field(description="Why it is not possible; empty if it is.")
    order: str = Field(description="`start-first`, `stop-first`, or the engine's own word.")
    order_reason: str
    image_name: str
    image_before: str | None = Field(description="`sha256:…` of what runs; null if unknown.")
    image_after: str | None = Field(description="`sha256:…` of what would run; null if only a pull can tell.")
    steps: list[str]
    notes: list[str] = Field(description="Remarks on the plan.")


class LogsOut(BaseModel):
    """Output lines."""

    logs: str


class AccountOut(BaseModel):
    """The credentials that were sent."""

    username: str
    key: str


class ErrorOut(BaseModel):
    """Why a request failed, and what to do."""

    error: str
