"""Texts of values on pages, as Jinja filters."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from shlex import quote
from typing import Any

from tutumd.web.messages.deliveries import describe_reason
from tutumd.web.messages.reasons import write_reason


def iso(at: datetime) -> str:
    """Return a moment for machines, in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def exact(at: datetime) -> str:
    """Return a moment for people, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: datetime) -> str:
    """Return the time of day of a moment, in UTC, for lines of a log."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def relative(at: datetime, now: datetime) -> str:
    """Return how long before or after `now` a moment is: `just now`, `3 min ago`, `in 2 h`, `5 days ago`.

    A moment more than 30 days away is a date.
    """
    seconds = (now - at).total_seconds()
    size = abs(seconds)
    if size < 5:
        return "just now"
    if size >= 30 * 86400:
        return at.astimezone(UTC).strftime("%Y-%m-%d")
    units = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (30 * 86400, 86400, "day"))
    unit_s, unit = next((unit_s, unit) for limit, unit_s, unit in units if size < limit)
    # What lasts for 7 days ends "in 7 days", also a second later.
    count = int(size // unit_s) if seconds > 0 else round(size / unit_s)
    text = f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration(seconds: float) -> str:
    """Return a length of time in at most two units: `850 ms`, `4.2 s`, `12 s`, `3 min 4 s`, `2 h 5 min`, `3 d 1 h`."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for unit_s, unit, part_s, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // part_s
            return f"{whole // unit_s} {unit} {rest} {part}" if rest else f"{whole // unit_s} {unit}"
    return f"{whole} s"


def short_digest(digest: str) -> str:
    """Return the first twelve digits of `sha256:…`."""
    return digest.rpartition(":")[2][:12]


def verb(word: str) -> str:
    """Return what an action or a handler does, from its name in the API: `Redeploy`, `Scale up`."""
    return word.replace("SCALEUP", "SCALE UP").capitalize()


_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""What stands in a user agent, and whose it is. The first one counts: most of them name others, too."""

_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def agent(user_agent: str) -> str:
    """Return the browser and the system that a user agent names, such as `Firefox on Linux`; else its first word.

    It is for people who look for a session that is not theirs. Whoever sends it can write anything into it.
    """
    program = next((name for part, name in _PROGRAMS if part in user_agent), "")
    system = next((name for part, name in _SYSTEMS if part in user_agent), "")
    if program and system:
        return f"{program} on {system}"
    return program or system or user_agent.partition(" ")[0][:40] or "unknown"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "iso": iso,
    "exact": exact,
    "clock": clock,
    "relative": relative,
    "duration": duration,
    "short_digest": short_digest,
    "verb": verb,
    "shell": quote,
    "reason": describe_reason,
    "sentence": write_reason,
    "agent": agent,
}
