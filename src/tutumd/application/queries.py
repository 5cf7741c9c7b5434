"""The filters and pages of lists: what is allowed, and reading it strictly."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tutumd.errors import InvalidInputError
from tutumd.model import Query

MAX_LIMIT = 100
DEFAULT_LIMIT = 25
DEFAULT_TAIL = 300
MAX_TAIL = 10_000
MAX_UNUSED_DAYS = 3650
_MAX_OFFSET = 2**31

SERVICE_FILTERS = frozenset({"uuid", "uuid__startswith", "name", "state", "stack", "stack__name"})
CONTAINER_FILTERS = frozenset({"uuid", "uuid__startswith", "name", "state", "service", "service__stack__name"})
HANDLER_FILTERS = frozenset({"uuid", "uuid__startswith", "name"})
ACTION_FILTERS = frozenset(
    {"uuid", "uuid__startswith", "state", "object"}
    | {f"{side}_date__{test}" for side in ("start", "end") for test in ("gte", "lte")}
)


def parse_query(parameters: Iterable[tuple[str, str]], allowed: frozenset[str]) -> Query:
    """Read the query string of a list.

    A filter that is not known is refused: ignoring it would show, and let clients delete, what was not asked for.

    Raises:
        InvalidInputError: Unknown or repeated parameter, bad page or date.
    """
    filters: dict[str, str] = {}
    for name, value in parameters:
        if name not in allowed and name not in ("limit", "offset"):
            known = ", ".join(sorted(allowed | {"limit", "offset"}))
            raise InvalidInputError(f"unknown filter {name[:50]!r}: this list knows {known}")
        if name in filters:
            raise InvalidInputError(f"{name} is given twice: give it once")
        filters[name] = _value(name, value)
    limit = _number("limit", filters.pop("limit", str(DEFAULT_LIMIT)), 1, MAX_LIMIT)
    offset = _number("offset", filters.pop("offset", "0"), 0, _MAX_OFFSET)
    return Query(filters=filters, limit=limit, offset=offset)


def parse_unused(parameters: Iterable[tuple[str, str]], now: datetime) -> tuple[datetime, Query]:
    """Read the query string of the report of unused handlers: `unused_days`, and the page.

    Answers since when they were not called. Raises InvalidInputError.
    """
    query = parse_query(parameters, frozenset({"unused_days"}))
    if "unused_days" not in query.filters:
        raise InvalidInputError("unused_days must be given: for how many days the handlers were not called")
    days = _number("unused_days", query.filters["unused_days"], 0, MAX_UNUSED_DAYS)
    return now - timedelta(days=days), query


def parse_line_number(parameters: Iterable[tuple[str, str]]) -> int:
    """Read `after`, the number of the last line that the caller has; 0 without it. Raises InvalidInputError."""
    after = 0
    for name, value in parameters:
        if name != "after":
            raise InvalidInputError(f"unknown parameter {name[:50]!r}: only after is known")
        after = _number(name, value, 0, 2**62)
    return after


def parse_tail(parameters: Iterable[tuple[str, str]]) -> int:
    """Read `tail`, how many of the last output lines are wanted; 300 without it. Raises InvalidInputError."""
    lines = DEFAULT_TAIL
    for name, value in parameters:
        if name != "tail":
            raise InvalidInputError(f"unknown parameter {name[:50]!r}: only tail is known")
        lines = _number(name, value, 1, MAX_TAIL)
    return lines


def parse_dry_run(values: Sequence[str]) -> bool:
    """Read `dry_run`: 1 to be told only, 0 or nothing to act.

    Raises:
        InvalidInputError: Anything else, and several values: a guess could redeploy what was only asked about.
    """
    match list(values):
        case [] | ["0"]:
            return False
        case ["1"]:
            return True
        case [other]:
            raise InvalidInputError(f"dry_run must be 1 (tell what would be done) or 0 (do it), got {other[:30]!r}")
    raise InvalidInputError("dry_run is given twice: give it once")


def _value(name: str, value: str) -> str:
    if "\0" in value:
        raise InvalidInputError(f"{name} must not contain a NUL character")
    if "_date__" in name:
        return _date(name, value)
    if name in ("service", "object") and value.endswith("/"):
        return value.rstrip("/").rpartition("/")[2]
    return value


def _number(name: str, text: str, low: int, high: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high:
        return int(text)
    raise InvalidInputError(f"{name} must be a whole number from {low} to {high}, got {text[:30]!r}")


def _date(name: str, text: str) -> str:
    return parse_date(name, text).isoformat()


def parse_date(name: str, text: str) -> datetime:
    """Read a date in ISO 8601 or in the API's own form; without a zone it is UTC. Raises InvalidInputError."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            parsed = parse(text)
        except (ValueError, OverflowError):  # OverflowError: a year of many digits
            continue
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    raise InvalidInputError(f"{name} must be a date such as 2015-10-13T11:01:43Z, got {text[:50]!r}")
