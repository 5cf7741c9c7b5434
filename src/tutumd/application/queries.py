"""Query strings: the filters and pages of lists, and single parameters, with strict validation."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime

from tutumd.application.admission.json_checks import check_choice, check_storable
from tutumd.errors import InvalidInputError
from tutumd.model import AuditEvent, AuditFilters, Query, Via


def write_date(value: datetime | None, timespec: str = "seconds") -> str | None:
    """Return a date in ISO 8601 and UTC, such as `2026-10-13T11:01:43Z`. `timespec` is as for `isoformat`."""
    return None if value is None else value.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


_SPAN = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LATEST = datetime(3000, 1, 1, tzinfo=UTC)

MAX_LIMIT = 100
DEFAULT_LIMIT = 25

SERVICE_FILTERS = frozenset({"uuid", "uuid__startswith", "name", "state", "stack", "stack__name", "reference"})
CONTAINER_FILTERS = frozenset({"uuid", "uuid__startswith", "name", "state", "service", "service__stack__name"})
HANDLER_FILTERS = frozenset({"uuid", "uuid__startswith", "name"})
ACTION_FILTERS = frozenset(
    {"uuid", "uuid__startswith", "state", "object"}
    | {f"{side}_date__{test}" for side in ("start", "end") for test in ("gte", "lte")}
)
TARGET_FILTERS = frozenset({"uuid", "uuid__startswith", "name", "service"})
NOTIFICATION_FILTERS = frozenset({"uuid", "uuid__startswith", "state", "target", "action"})
FREEZE_FILTERS = frozenset({"uuid", "uuid__startswith", "service"})
AUDIT_FILTERS = ("user", "what", "via", "service_name", "stack", "since", "until")


def parse_parameters(parameters: Iterable[tuple[str, str]], known: frozenset[str]) -> dict[str, str]:
    """Return the parameters of a request.

    An unknown parameter is refused: otherwise clients would list, and then delete, objects that they did not select.

    Raises:
        InvalidInputError: A parameter is unknown, repeated or wrong.
    """
    found: dict[str, str] = {}
    for name, value in parameters:
        if name not in known:
            raise InvalidInputError(f"unknown filter {name[:50]!r}: this list knows {', '.join(sorted(known))}")
        if name in found:
            raise InvalidInputError(f"{name} is given twice: give it once")
        found[name] = _parse_filter(name, value)
    return found


def parse_query(
    parameters: Iterable[tuple[str, str]],
    allowed: frozenset[str],
    page: frozenset[str] = frozenset({"limit", "offset"}),
) -> Query:
    """Return the filters and the page of a list. Raises as `parse_parameters`.

    Args:
        allowed: Names of the allowed filters.
        page: Names of the parameters that choose a page.
    """
    filters = parse_parameters(parameters, allowed | page)
    limit = check_range("limit", filters.pop("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
    offset = check_range("offset", filters.pop("offset", "0"), 0, 2**31)
    return Query(filters=filters, limit=limit, offset=offset)


def parse_unused(parameters: Iterable[tuple[str, str]], now: datetime) -> tuple[datetime | None, Query]:
    """Return the date of `unused_days` for the report of unused handlers, and the page. 0 days means all handlers: the
    date is then None.

    Raises:
        InvalidInputError: As `parse_query`, or `unused_days` is missing or invalid.
    """
    query = parse_query(parameters, frozenset({"unused_days"}))
    if "unused_days" not in query.filters:
        raise InvalidInputError("unused_days must be given: for how many days the handlers were not called")
    days = check_range("unused_days", query.filters["unused_days"], 0, 3650)
    return now - timedelta(days=days) if days else None, query


def parse_audit_query(parameters: Iterable[tuple[str, str]]) -> tuple[AuditFilters, int | None, int]:
    """Return filters, `before` and `limit` of a page of the audit log. Raises InvalidInputError."""
    query = parse_query(parameters, frozenset({"before", *AUDIT_FILTERS}), page=frozenset({"limit"}))
    return parse_audit_filters(query.filters), parse_position(query.filters, "before"), query.limit


def parse_audit_filters(given: Mapping[str, str]) -> AuditFilters:
    """Return the filters of `AUDIT_FILTERS`: `since` and `until` are days, both inclusive. Empty texts mean all.

    Raises:
        InvalidInputError: No entry can have such a value.
    """
    texts = {name: given.get(name, "").strip() or None for name in AUDIT_FILTERS}
    check_storable("filters", "".join(filter(None, texts.values())))
    until = _parse_day("until", texts["until"])
    return AuditFilters(
        user_name=texts["user"],
        what=check_choice("what", texts["what"], tuple(AuditEvent)) if texts["what"] else None,
        via=Via(check_choice("via", texts["via"], tuple(Via))) if texts["via"] else None,
        service_name=texts["service_name"],
        stack=texts["stack"],
        since=_parse_day("since", texts["since"]),
        until=until and until + timedelta(days=1),
    )


def parse_user(parameters: Iterable[tuple[str, str]]) -> str | None:
    """Return the user name, the only parameter of a route. Raises InvalidInputError."""
    name = parse_parameters(parameters, frozenset({"user"})).get("user")
    if name == "":
        raise InvalidInputError("user must be the name of a user")
    return name


def parse_number(parameters: Iterable[tuple[str, str]], name: str, low: int, high: int, *, default: int) -> int:
    """Return the number in the only parameter of a route. Raises InvalidInputError."""
    given = parse_parameters(parameters, frozenset({name}))
    return check_range(name, given.get(name, str(default)), low, high)


def parse_logs_query(parameters: Iterable[tuple[str, str]]) -> tuple[int, str, str]:
    """Return `tail`, `since` (ISO 8601; empty: from the start) and `after` of a read of logs. Raises
    InvalidInputError.
    """
    given = parse_parameters(parameters, frozenset({"tail", "since", "after"}))
    # Not in UTC, where a date at the end of time may not exist.
    since = parse_date("since", given["since"]).isoformat() if "since" in given else ""
    after = given.get("after", "")
    tail = check_range("tail", given.get("tail", "1000" if after or since else "300"), 1, 10_000)
    return tail, since, after


def parse_position(parameters: Mapping[str, str], name: str) -> int | None:
    """Return the number at which a page of a list continues; None for the first page. Raises InvalidInputError."""
    return check_range(name, parameters[name], 0, 2**62) if name in parameters else None


def parse_date(name: str, text: str, *, forms: str = "a date") -> datetime:
    """Return a date in ISO 8601 or in the API's own format. A date without a time zone is UTC. Raises
    InvalidInputError, which names the accepted forms.
    """
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = parse(text)
        except (ValueError, OverflowError):  # OverflowError: a year of many digits
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    raise InvalidInputError(f"{name} must be {forms} such as 2015-10-13T11:01:43Z, got {text[:50]!r}")


def parse_until(name: str, text: str | None, now: datetime) -> datetime | None:
    """Return the end of a span from now such as `4h`, or a date as `parse_date`; None for None or an empty text.

    Raises:
        InvalidInputError: It is neither, or not in the future.
    """
    if not text:
        return None
    span, forms = _SPAN.fullmatch(text), "a span such as 4h, or a date"
    try:
        until = (
            now + timedelta(seconds=int(span[1]) * _UNITS_S[span[2]])
            if span
            else parse_date(name, text, forms=forms).astimezone(UTC)
        )
    except OverflowError:
        until = now
    if not now < until < _LATEST:
        raise InvalidInputError(f"{name} must be in the future and before the year {_LATEST.year}, got {text[:50]!r}")
    return until


def _parse_day(name: str, text: str | None) -> datetime | None:
    try:
        day = None if text is None else date.fromisoformat(text)
    except ValueError:
        day = date.min
    if day is not None and not 1970 <= day.year <= 2200:
        raise InvalidInputError(f"{name} must be a day such as 2026-10-13, got {str(text)[:50]!r}")
    return None if day is None else datetime.combine(day, time(), UTC)


def _parse_filter(name: str, value: str) -> str:
    if "\0" in value:
        raise InvalidInputError(f"{name} must not contain a NUL character")
    if "_date__" in name:
        return parse_date(name, value).isoformat()
    if name in ("service", "object", "target", "action") and value.endswith("/"):
        return value.rstrip("/").rpartition("/")[2]
    return value


def check_range(name: str, text: str, low: int, high: int) -> int:
    """Return the number that a text of digits is. Raises InvalidInputError."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high:
        return int(text)
    raise InvalidInputError(f"{name} must be a whole number from {low} to {high}, got {text[:30]!r}")
