"""Reads spans of time such as 90s, 15m, 12h or 30d."""

import re
from datetime import UTC, datetime, timedelta

import typer

_SPAN = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
FORMS = "a number of seconds, or a span such as 15m, 12h or 30d"


def seconds_of(option: str, text: str) -> int:
    """Return the seconds of a span; a bare number is seconds already.

    Raises:
        typer.BadParameter: It is no span.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{option} must be {FORMS}, got {text!r}")
    return int(match[1]) * _SECONDS[match[2]]


def moment_of(text: str, *, now: datetime | None = None) -> str:
    """Return the date that is a span from now, in ISO 8601; any other text is returned as it is."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or not match[2]:
        return text
    try:
        moment = (now or datetime.now(UTC)) + timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except OverflowError as error:
        raise typer.BadParameter(f"{text} from now is too far away") from error
    return moment.isoformat(timespec="seconds")
