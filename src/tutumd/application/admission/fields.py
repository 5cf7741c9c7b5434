"""The table of handler fields: every setting of a handler except its name and operation.

JSON reading and writing, the OpenAPI schemas, the table of docs/reference/handler-fields.md and the field list of the
SDK and the CLI all derive from this table. Run `script/generate` after a change.
"""

# ruff: noqa: RUF009 (`_entry` returns `dataclasses.field`, which a dataclass requires)

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tutumd.application.admission.filters import FILTER_SCHEMA, Filter, parse_filters, write_filters
from tutumd.application.admission.headers import Network, parse_networks
from tutumd.application.admission.json_checks import TEXTS_SCHEMA, check_flag, check_number, check_text, quote
from tutumd.application.admission.tags import TAG_SCHEMA, TagRule, parse_tag_rule
from tutumd.application.admission.verify import SHOWN_VERIFY_SCHEMA, VERIFY_SCHEMA, Verification, parse_verification
from tutumd.application.queries import parse_date, write_date
from tutumd.errors import InvalidInputError
from tutumd.model import VARIABLE, Operation

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_RATE = re.compile(r"([1-9][0-9]{0,5})/(second|minute|hour|day)", re.ASCII)


Rate = tuple[int, int]
"""The number of calls in a period, and the period in seconds."""


def parse_rate(value: object) -> Rate:
    """Return a rate such as `30/minute`: 1 to 999,999 per second, minute, hour or day. Raises InvalidInputError."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidInputError(
            f"rate_limit must be like 30/minute (per second, minute, hour or day), got {quote(value)}"
        )
    return int(match[1]), _UNITS[match[2]]


def write_rate(rate: Rate) -> str:
    """Return a rate as `parse_rate` reads it."""
    return f"{rate[0]}/{next(unit for unit, seconds in _UNITS.items() if seconds == rate[1])}"


DEFAULT_VARIABLE = "TUTUM_TRIGGER_BODY"
MAX_USES = 1_000_000_000
MAX_CONTAINERS = 10_000
MAX_DEBOUNCE_S = 3600

_EFFECT = "What a call does"
_SENDER = "Who may call"
_FILTER = "Which calls count"
_LIMITS = "Limits"
GROUPS = (_EFFECT, _SENDER, _FILTER, _LIMITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerField:
    """One field of a handler.

    Attributes:
        default: Attribute of `HandlerOptions` while the field is not set.
        schema: JSON Schema of the values to send. null is always accepted and resets the field.
        shown_schema: JSON Schema of the values that the API returns; None: as `schema`.
        operation: The only operation that the field applies to; None: all.
        title: Name of the field for people. A field without a title is shown by its name.
        is_date: The text is a date, which the schema does not express.
        group: Heading under which people find the field.
        help: What the field does, in one or two sentences of Markdown.
        parse: Check a JSON value and return the attribute. Raises InvalidInputError.
        write: Return the JSON value to store for an attribute that is not the default.
        show: Return the JSON value that the API returns for an attribute; None: as `write`.
    """

    name: str
    default: Any
    schema: Mapping[str, Any]
    shown_schema: Mapping[str, Any] | None = None
    operation: Operation | None = None
    title: str = ""
    is_date: bool = False
    example: Any
    group: str
    help: str
    parse: Callable[[Any], Any]
    write: Callable[[Any], Any] = lambda value: value
    show: Callable[[Any], Any] | None = None

    @property
    def json_default(self) -> Any:
        """The JSON value of the default."""
        return None if self.default == () else self.default


def _parse_expires(value: object) -> datetime:
    text = check_text("expires_datetime", value, 100)
    try:
        return parse_date("expires_datetime", text).astimezone(UTC)
    except OverflowError:
        raise InvalidInputError(
            f"expires_datetime must lie within the years 1 to 9999 of UTC, got {quote(text)}"
        ) from None


def _parse_variable(value: object) -> str | None:
    if isinstance(value, bool):
        return DEFAULT_VARIABLE if value else None
    if isinstance(value, str) and VARIABLE.fullmatch(value):
        return value
    raise InvalidInputError(
        f"pass_body must be true ({DEFAULT_VARIABLE}), false, or a name of the form TUTUM_NAME, got {quote(value)}"
    )


def _entry(default: Any, **entry: Any) -> Any:
    return field(default=default, metadata=entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """The settings of a handler. Each attribute is a field of the same name, with its entry in the table."""

    enabled: bool = _entry(
        True,
        title="Accept calls",
        schema={"type": "boolean"},
        example=False,
        group=_LIMITS,
        help="If not, the URL returns 404 until the handler is enabled again.",
        parse=partial(check_flag, "enabled"),
    )
    expires_datetime: datetime | None = _entry(
        None,
        title="Expires",
        is_date=True,
        schema={"type": "string"},
        example="2030-01-31T12:00:00Z",
        group=_LIMITS,
        help="From this date on the URL returns 404.",
        parse=_parse_expires,
        write=lambda value: value.astimezone(UTC).isoformat(),
        show=write_date,
    )
    max_uses: int | None = _entry(
        None,
        title="Total calls",
        schema={"type": "integer", "minimum": 1, "maximum": MAX_USES},
        example=1,
        group=_LIMITS,
        help="Calls that are accepted in all. After them the URL returns 404, except to a repetition of one of them.",
        parse=partial(check_number, "max_uses", low=1, high=MAX_USES),
    )
    max_containers: int | None = _entry(
        None,
        title="Most containers",
        schema={"type": "integer", "minimum": 1, "maximum": MAX_CONTAINERS},
        operation=Operation.SCALEUP,
        example=10,
        group=_LIMITS,
        help="Containers of the service up to which the handler adds.",
        parse=partial(check_number, "max_containers", low=1, high=MAX_CONTAINERS),
    )
    verify: Verification | None = _entry(
        None,
        title="Signature or token of the sender",
        schema=VERIFY_SCHEMA,
        shown_schema=SHOWN_VERIFY_SCHEMA,
        example={"preset": "github", "secrets": ["…"]},
        group=_SENDER,
        help="Signature or token of the sender. A call without it gets a 401.",
        parse=parse_verification,
        write=lambda value: value.settings,
        show=lambda value: value.settings | {"secrets_set": len(value.secrets)},
    )
    filter: tuple[Filter, ...] = _entry(
        (),
        title="Filter",
        schema=FILTER_SCHEMA,
        example={"preset": "branch", "branch": "main"},
        group=_FILTER,
        help="Which calls count. The others get a 200 with `Skipped`.",
        parse=parse_filters,
        write=write_filters,
    )
    tag: TagRule | None = _entry(
        None,
        title="Image tag from the call",
        schema=TAG_SCHEMA,
        operation=Operation.REDEPLOY,
        example={"allow": ["v*"], "from": "query"},
        group=_EFFECT,
        help="Which image tag a call may name.",
        parse=parse_tag_rule,
        write=lambda value: value.document,
    )
    pass_body: str | None = _entry(
        None,
        title="Body for the new containers",
        schema={"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^TUTUM_[A-Z0-9_]{1,100}$"}]},
        shown_schema={"type": "string", "examples": [DEFAULT_VARIABLE]},
        operation=Operation.REDEPLOY,
        example=True,
        group=_EFFECT,
        help=f"Environment variable of the new containers that gets the body. `true` means `{DEFAULT_VARIABLE}`.",
        parse=_parse_variable,
    )
    rate_limit: Rate | None = _entry(
        None,
        title="Rate limit",
        schema={"type": "string", "pattern": "^[1-9][0-9]{0,5}/(second|minute|hour|day)$"},
        example="30/minute",
        group=_LIMITS,
        help="Calls per `second`, `minute`, `hour` or `day`. Further ones get a 429 with `Retry-After`. A repeated"
        " delivery does not count, nor does a refused one.",
        parse=parse_rate,
        write=write_rate,
    )
    allow_from: tuple[Network, ...] = _entry(
        (),
        title="Networks",
        schema=TEXTS_SCHEMA,
        shown_schema={"type": "array", "items": {"type": "string"}},
        example=["10.0.0.0/8", "2001:db8::/32"],
        group=_SENDER,
        help="Networks that may call. Others get a 404. IPv4 within IPv6 (`::ffff:…`) counts as IPv4.",
        parse=parse_networks,
        write=lambda value: [str(network) for network in value],
    )
    debounce: int = _entry(
        0,
        title="Quiet time before it starts",
        schema={"type": "integer", "minimum": 0, "maximum": MAX_DEBOUNCE_S},
        example=30,
        group=_EFFECT,
        help=f"Seconds without another call before the run starts, up to {MAX_DEBOUNCE_S}.",
        parse=partial(check_number, "debounce", low=0, high=MAX_DEBOUNCE_S),
    )
    skip_unchanged: bool | None = _entry(
        None,
        title="Skip if the image has not changed",
        schema={"type": "boolean"},
        operation=Operation.REDEPLOY,
        example=True,
        group=_EFFECT,
        help="Whether a redeploy does nothing if the newest image already runs. If not set, the service's label"
        " `tutum.redeploy.skip-unchanged` decides.",
        parse=partial(check_flag, "skip_unchanged"),
    )
    rollback_hold: bool = _entry(
        True,
        title="Hold redeploys after the rollback",
        schema={"type": "boolean"},
        operation=Operation.ROLLBACK,
        example=False,
        group=_EFFECT,
        help="Whether the rollback holds redeploys until somebody resumes the service. Meanwhile, further calls of"
        " ROLLBACK handlers are skipped.",
        parse=partial(check_flag, "rollback_hold"),
    )
    show_log: bool = _entry(
        False,
        title="Show callers the log of a failed run",
        schema={"type": "boolean"},
        example=True,
        group=_EFFECT,
        help="Whether callers see the last log lines of a failed run.",
        parse=partial(check_flag, "show_log"),
    )

    image: str = ""
    """Glob of the images of a group. Not a field: the store adds it to the options of the group."""

    @property
    def reads_payload(self) -> bool:
        """Whether the payload matters. Pings and deletions are recognized only if it does."""
        return bool(self.verify or self.filter or self.image or (self.tag and self.tag.source != "query"))


DEFAULTS = HandlerOptions()

FIELDS = {
    each.name: HandlerField(name=each.name, default=each.default, **each.metadata)
    for each in fields(HandlerOptions)
    if each.metadata
}
