"""JSON of the API: descriptions of objects, lists of objects, and the bodies of requests.

Dates are in ISO 8601 and UTC (`Moment`), except those that clients of 2015 read (`DateOf2015`).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from operator import attrgetter
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from tutumd.application.admission.fields import FIELDS, HandlerField
from tutumd.application.groups import GROUP_FIELDS
from tutumd.application.queries import write_date
from tutumd.application.services import UNUSED_FIELDS
from tutumd.model import Page, Query

Item = TypeVar("Item")


def _from_dates(write: Callable[[datetime], object]) -> BeforeValidator:
    return BeforeValidator(lambda value: write(value) if isinstance(value, datetime) else value)


Moment = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-10-13T11:01:43Z"]),
    _from_dates(write_date),
]
DateOf2015 = Annotated[
    str,
    Field(examples=["Mon, 13 Oct 2014 11:01:43 +0000"]),
    _from_dates(lambda date: format_datetime(date.astimezone(UTC).replace(microsecond=0))),
]


class ObjectOut(BaseModel):
    """The JSON of an object, read from a value of the model with `sources`, or from a dictionary of its fields.

    Attributes:
        sources: The function that returns the value of each field, by field name.
    """

    sources: ClassVar[dict[str, Callable[[Any], object]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        return value if isinstance(value, dict | list | tuple) else show(cls, value)


def show(schema: type[ObjectOut], value: object, **given: object) -> dict[str, Any]:
    """Return the fields of a value. Arguments supply the fields that the value lacks."""
    return {name: source(value) for name, source in schema.sources.items() if name not in given} | given


class Shown(NamedTuple):
    """A field of an object.

    Attributes:
        kind: Type in the JSON.
        text: Description in the documentation.
        of: Attribute of the value, or a function of the value. The default is the attribute with the field's name.
        default: Value of an optional field; `...`: the field is required.
    """

    kind: Any
    text: str | None = None
    of: str | Callable[[Any], object] = ""
    default: Any = ...


def describe(name: str, text: str, fields: Mapping[str, Shown], base: type[ObjectOut] = ObjectOut) -> type[ObjectOut]:
    """Return the schema of an object: its name and description in the OpenAPI document, and its fields after those of
    `base`.
    """
    annotated: dict[str, Any] = {
        key: (field.kind, Field(field.default, description=field.text)) for key, field in fields.items()
    }
    schema = create_model(name, __base__=base, __doc__=text, **annotated)
    schema.sources = base.sources | {
        key: field.of if callable(field.of) else attrgetter(field.of or key) for key, field in fields.items()
    }
    return schema


MetaOut = describe(
    "MetaOut",
    "The place of a page in its list. `next` and `previous` are paths, null at the ends.",
    {
        "limit": Shown(int),
        "next": Shown(str | None),
        "offset": Shown(int),
        "previous": Shown(str | None),
        "total_count": Shown(int),
    },
)


class ListOut(BaseModel, Generic[Item]):
    """A page of a list."""

    meta: MetaOut  # type: ignore[valid-type] # a class
    objects: list[Item]


def list_of(schema: type[BaseModel]) -> Any:
    """Return the schema of a page of a list of objects."""
    return ListOut.__class_getitem__(schema)


def plain_list(schema: type[BaseModel]) -> Any:
    """Return the schema of a list without pages."""
    return GenericAlias(list, (schema,))


def write_page(path: str, query: Query, page: Page[Any], objects: Iterable[object] | None = None) -> dict[str, Any]:
    """Return the JSON of a page of a list, as `list_of` describes it.

    Args:
        path: Path of the list, from which the paths of the previous and next page are made.
        objects: Shown instead of the objects of the page.
    """

    def link(offset: int) -> str:
        return f"{path}?{urlencode({**query.filters, 'limit': query.limit, 'offset': offset})}"

    next_offset = query.offset + query.limit
    return {
        "meta": {
            "limit": query.limit,
            "next": link(next_offset) if next_offset < page.total else None,
            "offset": query.offset,
            "previous": link(max(0, query.offset - query.limit)) if query.offset else None,
            "total_count": page.total,
        },
        "objects": list(page.objects if objects is None else objects),
    }


def write_list(objects: Iterable[object]) -> dict[str, Any]:
    """Return the JSON of a short list without further pages, as `list_of` describes it."""
    values = tuple(objects)
    return {
        "meta": {"limit": 25, "next": None, "offset": 0, "previous": None, "total_count": len(values)},
        "objects": values,
    }


class RequestBody(BaseModel):
    """A JSON body in which unknown fields and other types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Envvar(RequestBody):
    """One environment variable."""

    key: str
    value: str


ServicePatch = create_model(
    "ServicePatch",
    __base__=RequestBody,
    __doc__="Changes to a service. Fields other than the target are for services that tutumd runs itself.",
    name=(str | None, None),
    image=(str | None, Field(None, description="Free text on the local engine.")),
    run_command=(str | None, Field(None, description="Run by /bin/sh -c.")),
    container_envvars=(list[Envvar] | None, None),
    working_dir=(str | None, Field(None, description="Absolute path; empty means a folder of its own.")),
    autorestart=(str | None, Field(None, description="OFF (default), ON_FAILURE or ALWAYS.")),
    target_num_containers=(int | None, Field(None, description="From 0 to the limit of the server.")),
)
RollbackIn = create_model(
    "RollbackIn",
    __base__=RequestBody,
    __doc__="The image to which a service returns.",
    image=(
        int | str | None,
        Field(None, description="Number or digest from the list of images; null: the image before the running one."),
    ),
    hold=(bool, Field(True, description="Hold the redeploys of the service afterwards.")),
    reason=(str, Field("", description="For people: at most 1,000 characters.")),
)
HoldIn = create_model(
    "HoldIn",
    __base__=RequestBody,
    __doc__="A hold of a service.",
    until=(str | None, Field(None, description="A date, or a span such as `4h`; null: until it is resumed.")),
    reason=(str, Field("", description="For people: at most 1,000 characters.")),
)
_unused_fields: dict[str, Any] = dict.fromkeys(UNUSED_FIELDS, (Any, None))
ServiceIn = create_model(
    "ServiceIn",
    __base__=ServicePatch,
    __doc__="A service to create on an engine that runs commands. Fields of 2015 without effect may be sent empty.",
    engine=(str | None, Field(None, description="Engine instance; default: the first that creates services.")),
    **_unused_fields,
)


def add_fields_in(fields: Mapping[str, HandlerField], schema: dict[str, Any]) -> None:
    """Add handler fields to the schema of a request."""
    for name, field in fields.items():
        schema["properties"][name] = {
            "anyOf": [field.schema, {"type": "null"}],
            "default": field.json_default,
            "description": _describe(field),
            "examples": [field.example],
        }
    schema["additionalProperties"] = False


def add_fields_out(fields: Mapping[str, HandlerField], schema: dict[str, Any]) -> None:
    """Add handler fields to the schema of a response."""
    for name, field in fields.items():
        value = field.shown_schema or field.schema
        schema["properties"][name] = {
            **(value if field.json_default is not None else {"anyOf": [value, {"type": "null"}]}),
            "description": _describe(field),
        }
    schema["required"] = [*schema["required"], *fields]
    del schema["additionalProperties"]  # this release has no other parameters, but the next release may add some


def _describe(field: HandlerField) -> str:
    return f"{field.operation} only. {field.help}" if field.operation else field.help


class HandlerIn(RequestBody):
    """A webhook handler to create or to change. Every field is optional; null resets it to its default.

    The fields of the table (`admission/fields.py`) are checked by the application.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra=partial(add_fields_in, FIELDS))

    name: str | None = Field(None, description="At most 255 characters, no control characters.")
    operation: str | None = Field(None, description="REDEPLOY (default), SCALEUP or ROLLBACK.")


class HandlerFieldsOut(ObjectOut):
    """The fields of the table (`admission/fields.py`) beside those of an object."""

    model_config = ConfigDict(extra="allow", json_schema_extra=partial(add_fields_out, FIELDS))


class GroupFieldsOut(ObjectOut):
    """The fields of the table (`admission/fields.py`) that groups have."""

    model_config = ConfigDict(extra="allow", json_schema_extra=partial(add_fields_out, GROUP_FIELDS))


RotateIn = create_model(
    "RotateIn",
    __base__=RequestBody,
    __doc__="A request for a new URL of a handler.",
    grace=(Any, Field(86_400, description="Seconds for which the old URL is still accepted, up to 30 days.")),
)
TestIn = create_model(
    "TestIn",
    __base__=RequestBody,
    __doc__="A call to try.",
    headers=(dict[str, str], Field(default_factory=dict)),
    query=(dict[str, str], Field(default_factory=dict)),
    body=(Any, Field("", description="A text, or a JSON value.")),
    address=(str, Field("127.0.0.1", description="Address of the client.")),
)
ApiKeyIn = create_model(
    "ApiKeyIn",
    __base__=RequestBody,
    __doc__="An API key to make.",
    name=(str | None, Field(None, description="For people: at most 50 characters.")),
    scope=(str, Field(description="`read`, `call`, `operate` or `admin`; each includes those before it.")),
    service=(str | None, Field(None, description="The only service that it is for: UUID or name.")),
    stack=(str | None, Field(None, description="The only stack that it is for.")),
    expires_datetime=(
        str | None,
        Field(None, description="A date, or days such as `90d`; null: it does not expire."),
    ),
)
TargetIn = create_model(
    "TargetIn",
    __base__=RequestBody,
    __doc__="A notification target to create or to change. null resets a field to its default.",
    name=(Any, Field(None, description="1 to 255 characters, such as `oncall`.")),
    kind=(Any, Field(None, description="`webhook`, `apprise` or `forge`; it cannot be changed.")),
    settings=(Any, Field(None, description="An object with the settings of the kind.")),
    events=(Any, Field(None, description="A list such as `action.failed`; default: failures and recoveries.")),
    service=(str | None, Field(None, description="The only service that it is told of: UUID or name.")),
    stack=(Any, Field(None, description="The only stack that it is told of.")),
    include_log=(Any, Field(None, description="Send the last output of a failed container.")),
    repeat=(
        Any,
        Field(None, description="An equal failure is sent at most once in this time, in seconds; 0: each."),
    ),
    per_group_call=(Any, Field(None, description="One message for all actions of a group's call; default: true.")),
    enabled=(Any, None),
)
