"""Rate limits of handlers."""

import re
from dataclasses import dataclass

from tutumd.application.admission.json_checks import quote
from tutumd.errors import InvalidInputError

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_RATE = re.compile(r"([1-9][0-9]{0,5})/(second|minute|hour|day)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `count` calls in `seconds`."""

    count: int
    seconds: int

    @property
    def text(self) -> str:
        """The rate as `30/minute`."""
        return f"{self.count}/{next(unit for unit, seconds in _UNITS.items() if seconds == self.seconds)}"


def parse_rate(value: object) -> Rate:
    """Return a rate such as `30/minute`: 1 to 999,999 per second, minute, hour or day. Raises InvalidInputError."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidInputError(
            f"rate_limit must be like 30/minute (per second, minute, hour or day), got {quote(value)}"
        )
    return Rate(count=int(match[1]), seconds=_UNITS[match[2]])
