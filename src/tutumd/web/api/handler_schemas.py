"""JSON bodies of handlers, their calls and deliveries."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tutumd.application.admission.fields import FIELDS, HandlerField
from tutumd.web.api.schemas import Moment, RequestBody


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
    del schema["additionalProperties"]  # there are no others, but the next release may add some


def _describe(field: HandlerField) -> str:
    return f"{field.operation} only. {field.help}" if field.operation else field.help


class HandlerIn(RequestBody):
    """A webhook handler to create or to change. Every field is optional; null resets it to its default.

    The fields of the table (`admission/fields.py`) are checked by the application.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_handler_fields_in)

    name: str | None = Field(None, description="At most 255 characters, no control characters.")
    operation: str | None = Field(None, description="REDEPLOY (default) or SCALEUP.")


class RotateIn(RequestBody):
    """A request for a new URL of a handler."""

    grace: Any = Field(86_400, description="Seconds for which the old URL is still accepted, up to 30 days.")


class TestIn(RequestBody):
    """A call to try."""

    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    body: Any = Field("", description="A text, or a JSON value.")
    address: str = Field("127.0.0.1", description="Address of the client.")


class HandlerNameOut(BaseModel):
    """A webhook handler. `url`, a path, is a secret: who knows it can call the handler."""

    url: str
    name: str | None
    operation: str
    resource_uri: str
    uuid: str


class HandlerPlanOut(BaseModel):
    """What a request would create or change."""

    name: str | None
    operation: str
    changes: dict[str, Any] = Field(
        description="Fields that would differ from before (of a new handler: from the defaults), with their new values "
        "as the API shows them. `verify` is there too if only its secrets would change."
    )


class RotationOut(BaseModel):
    """The URL that a handler had before."""

    old_until: Moment = Field(description="Its calls are accepted until then.")
    old_last_called_datetime: Moment | None
    old_last_address: str | None


class HandlerOut(HandlerNameOut):
    """A webhook handler with all its fields, also those of the table (`admission/fields.py`)."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_handler_fields_out)

    call_url: str | None = Field(description="The complete URL; null if the server has no `--public-url`.")
    created_datetime: Moment
    last_called_datetime: Moment | None
    calls: int = Field(description="How many calls it received, also skipped and refused ones.")
    uses: int = Field(description="How many of them count towards `max_uses`.")
    rotation: RotationOut | None


class UnusedHandlerOut(HandlerOut):
    """A webhook handler with its service."""

    service: str


class CallOut(HandlerNameOut):
    """The handler that was called, and the action that performs its operation."""

    action: str
    status_url: str = Field(description="Path of the action's progress, for the caller, without credentials.")
    notes: list[str] = Field([], description="Sentences for the caller; absent if there are none.")


class CheckOut(BaseModel):
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
    steps: list[CheckOut]


class ProgressOut(BaseModel):
    """What a caller may see of the action of its call."""

    state: str
    reason: str
    operation: str
    created_datetime: Moment
    started_datetime: Moment | None
    ended_datetime: Moment | None
    image_before: str | None
    image_after: str | None
    image_tried: str | None = Field(description="`sha256:…` of the image that a failed redeploy tried to run.")
    containers_before: int
    containers_after: int
    rolled_back: bool
    status_url: str
    log_tail: str = Field("", description="Only if the handler has `show_log`.")


class DeliveryOut(BaseModel):
    """One call that a handler received."""

    id: int
    resource_uri: str
    received_datetime: Moment
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
    action: str | None = Field(description="URI of the action; null if it caused nothing.")
    action_state: str | None = Field(description="State of the action now.")
    action_reason: str | None


class WholeDeliveryOut(DeliveryOut):
    """One call with its stored content."""

    headers: list[tuple[str, str]] = Field(description="Without those that contain secrets.")
    query: str
    body: str
    body_is_base64: bool
    body_is_cut: bool
    left_out: list[str] = Field(description="What else was not stored, because it is secret or too long.")
