"""JSON bodies of services, containers, actions and lists.

Dates are in ISO 8601 and UTC (`Moment`), except those that clients of 2015 read (`DateOf2015`).
"""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from tutumd.application.services import UNUSED_FIELDS
from tutumd.model import Phase

Item = TypeVar("Item")
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-10-13T11:01:43Z"])]
DateOf2015 = Annotated[str, Field(examples=["Mon, 13 Oct 2014 11:01:43 +0000"])]


class RequestBody(BaseModel):
    """A JSON body in which unknown fields and other types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Envvar(RequestBody):
    """One environment variable."""

    key: str
    value: str


class ServicePatch(RequestBody):
    """Changes to a service. Fields other than the target are for services that tutumd runs itself."""

    name: str | None = None
    image: str | None = Field(None, description="Free text on the local engine.")
    run_command: str | None = Field(None, description="Run by /bin/sh -c.")
    container_envvars: list[Envvar] | None = None
    working_dir: str | None = Field(None, description="Absolute path; empty means a folder of its own.")
    autorestart: str | None = Field(None, description="OFF (default), ON_FAILURE or ALWAYS.")
    target_num_containers: int | None = Field(None, description="From 0 to the limit of the server.")


class _NewService(ServicePatch):
    """A service to create on an engine that runs commands. Fields of 2015 without effect may be sent empty."""

    engine: str | None = Field(None, description="Engine instance; default: the first that creates services.")


_unused_fields: dict[str, Any] = dict.fromkeys(UNUSED_FIELDS, (Any, None))
ServiceIn = create_model("ServiceIn", __base__=_NewService, __doc__=_NewService.__doc__, **_unused_fields)


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


class EnvvarOut(BaseModel):
    """An environment variable of a service."""

    key: str
    value: str | None = Field(description="null unless tutumd runs the service itself: it may be a secret.")


class ServiceOut(BaseModel):
    """A service."""

    uuid: str
    resource_uri: str
    name: str
    full_name: str = Field(description="The name with its stack, such as `shop/web`.")
    state: str
    gone_since: Moment | None = Field(description="Since when its engine has not shown it; null while it does.")
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
    deployed_datetime: DateOf2015 | None
    container_envvars: list[EnvvarOut]
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
    deployed_datetime: DateOf2015 | None
    started_datetime: Moment | None
    stopped_datetime: Moment | None
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
    start_date: DateOf2015 = Field(description="When it was created.")
    end_date: DateOf2015 | None
    reason: str = Field(description="Why it failed or waits; after a success often empty.")
    log_tail: str = Field(description="On failure the last output lines of what failed.")
    rolled_back: bool
    image_before: str | None
    image_after: str | None
    image_tried: str | None = Field(description="`sha256:…` of the image that a failed redeploy tried to run.")
    containers_before: int = Field(description="How many containers the service had.")
    containers_after: int
    container_uris_before: list[str] = Field(description="URIs of these containers.")
    container_uris_after: list[str]
    target_num_containers: int | None
    deliveries: int = Field(description="How many calls it performs.")
    ip: str
    location: str
    user_agent: str
    can_be_canceled: bool
    can_be_retried: bool


class LineOut(BaseModel):
    """One step of a run."""

    number: int
    time: Moment = Field(description="To the millisecond.")
    text: str
    phase: Phase | None = Field(description="What the run does from this step on; null: as before.")


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
