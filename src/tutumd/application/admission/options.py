"""What may be set on a handler beyond the spec: read from JSON, written for the API and for the store."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from tutumd.application.admission.addresses import Network, parse_networks
from tutumd.application.admission.encryption import ClosedSecretBox, SecretBox
from tutumd.application.admission.filters import Filter, parse_filters
from tutumd.application.admission.json_checks import check_flag, check_number, check_text, shown
from tutumd.application.admission.rates import Rate, parse_rate
from tutumd.application.admission.tags import TagRule, parse_tag_rule
from tutumd.application.admission.verify import Verification, parse_verification
from tutumd.application.queries import parse_date
from tutumd.errors import InvalidInputError
from tutumd.model import Operation

DEFAULT_VARIABLE = "TUTUM_TRIGGER_BODY"
MAX_USES = 1_000_000_000
MAX_CONTAINERS = 10_000
MAX_DEBOUNCE_S = 3600

_VARIABLE = re.compile(r"TUTUM_[A-Z0-9_]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is set on a handler. A handler made as the spec says has none of it.

    Attributes:
        max_uses: Calls that are accepted in all.
        max_containers: SCALEUP adds up to this many containers of the service.
        filters: All must let a call through.
        pass_body: Variable of the new containers that holds the call's body.
        debounce_s: Seconds of quiet before the run; 0 runs at once.
        show_log: Holders of the URL see the last log lines of what failed.
    """

    enabled: bool = True
    expires: datetime | None = None
    max_uses: int | None = None
    max_containers: int | None = None
    verify: Verification | None = None
    filters: tuple[Filter, ...] = ()
    tag: TagRule | None = None
    pass_body: str | None = None
    rate_limit: Rate | None = None
    allow_from: tuple[Network, ...] = ()
    debounce_s: int = 0
    show_log: bool = False

    @property
    def looks_at_payload(self) -> bool:
        """Whether what the sender tells matters: only then are pings and deletions told apart."""
        return bool(self.verify or self.filters or (self.tag and self.tag.source != "query"))


DEFAULTS = Options()

_NAMES = {"expires": "expires_datetime", "filters": "filter", "debounce_s": "debounce"}
_FIELDS = {_NAMES.get(field.name, field.name): field.name for field in fields(Options)}
FIELDS = frozenset(_FIELDS)
"""The names of the JSON fields, beside `name` and `operation`."""

_ONLY_FOR = {
    "tag": Operation.REDEPLOY,
    "pass_body": Operation.REDEPLOY,
    "max_containers": Operation.SCALEUP,
}


def parse(document: Mapping[str, object], now: datetime, stored: Options = DEFAULTS) -> Options:
    """Read what a user sent to create or change a handler.

    Args:
        document: The JSON object without `name` and `operation`. null resets a field to its default.
        stored: What holds where a field is absent.

    Raises:
        InvalidInputError: An unknown field, or a value that is wrong; says what was wanted.
    """
    changes: dict[str, Any] = {}
    for name, value in document.items():
        if name not in _FIELDS:
            raise InvalidInputError(f"unknown field {shown(name)}: a handler has {', '.join(sorted(FIELDS))}")
        field = _FIELDS[name]
        if value is None:
            changes[field] = getattr(DEFAULTS, field)
        elif field == "verify":
            changes[field] = parse_verification(value, stored.verify)
        else:
            changes[field] = _PARSERS[field](value)
    if changes.get("expires") and changes["expires"] <= now:
        raise InvalidInputError("expires_datetime must lie in the future: to end the URL now, set enabled to false")
    return replace(stored, **changes)


def check_operation(options: Options, operation: Operation) -> None:
    """Refuse what would have no effect. Raises InvalidInputError."""
    for field, wanted in _ONLY_FOR.items():
        if operation is not wanted and getattr(options, field) is not None:
            raise InvalidInputError(
                f"{field} is for handlers with the operation {wanted}, and this one does {operation}"
            )


def to_public(options: Options) -> dict[str, Any]:
    """Write all fields for the API. Of secrets only their number is told, as `secrets_set`."""
    document = _document(options)
    if options.verify is not None:
        document["verify"] = options.verify.settings | {"secrets_set": len(options.verify.secrets)}
    if options.expires is not None:
        document["expires_datetime"] = format_datetime(options.expires.astimezone(UTC).replace(microsecond=0))
    return document


def to_document(options: Options, box: SecretBox) -> dict[str, Any]:
    """Write what differs from the defaults for the store, as JSON values; secrets are sealed."""
    document = _document(options)
    if options.verify is not None:
        sealed = [box.seal(secret) for secret in options.verify.secrets]
        document["verify"] = options.verify.settings | {"secrets": sealed}
    defaults = _document(DEFAULTS)
    return {name: value for name, value in document.items() if value != defaults[name]}


def from_document(document: Mapping[str, Any], box: SecretBox | ClosedSecretBox) -> Options:
    """Read what `to_document` wrote. Raises SettingsError where the box cannot open the secrets."""
    if not document:
        return DEFAULTS
    read: dict[str, Any] = {}
    for name, value in document.items():
        field = _FIELDS[name]
        if field == "verify":
            opened = [box.open(secret) for secret in value["secrets"]]
            read[field] = parse_verification({**value, "secrets": opened}, None)
        else:
            read[field] = _PARSERS[field](value)
    return Options(**read)


def _document(options: Options) -> dict[str, Any]:
    filters = [item.document for item in options.filters]
    return {
        "enabled": options.enabled,
        "expires_datetime": options.expires.astimezone(UTC).isoformat() if options.expires else None,
        "max_uses": options.max_uses,
        "max_containers": options.max_containers,
        "verify": None,
        "filter": filters[0] if len(filters) == 1 else filters or None,
        "tag": options.tag.document if options.tag else None,
        "pass_body": options.pass_body,
        "rate_limit": options.rate_limit.text if options.rate_limit else None,
        "allow_from": [str(network) for network in options.allow_from] or None,
        "debounce": options.debounce_s,
        "show_log": options.show_log,
    }


def _parse_expires(value: object) -> datetime:
    text = check_text("expires_datetime", value, 100)
    try:
        return parse_date("expires_datetime", text).astimezone(UTC)
    except OverflowError:
        raise InvalidInputError(
            f"expires_datetime must lie within the years 1 to 9999 of UTC, got {shown(text)}"
        ) from None


def _parse_variable(value: object) -> str | None:
    if isinstance(value, bool):
        return DEFAULT_VARIABLE if value else None
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        return value
    raise InvalidInputError(
        f"pass_body must be true ({DEFAULT_VARIABLE}), false, or a name of the form TUTUM_NAME, got {shown(value)}"
    )


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "enabled": lambda value: check_flag("enabled", value),
    "expires": _parse_expires,
    "max_uses": lambda value: check_number("max_uses", value, 1, MAX_USES),
    "max_containers": lambda value: check_number("max_containers", value, 1, MAX_CONTAINERS),
    "filters": parse_filters,
    "tag": parse_tag_rule,
    "pass_body": _parse_variable,
    "rate_limit": parse_rate,
    "allow_from": parse_networks,
    "debounce_s": lambda value: check_number("debounce", value, 0, MAX_DEBOUNCE_S),
    "show_log": lambda value: check_flag("show_log", value),
}
