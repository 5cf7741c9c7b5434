"""What `tutumd doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may not do what was meant."""
    WRONG = "wrong"
    """Something does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What was looked at, in a word or two: `database`, `engine prod`.
        text: What was found, in one line. Never a secret.
        mend: What to do about it; empty if nothing.
    """

    subject: str
    level: Level
    text: str
    mend: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(subject=subject, level=Level.OK, text=text)


def warning(subject: str, text: str, mend: str) -> Finding:
    """Return that something works, and may not do what was meant."""
    return Finding(subject=subject, level=Level.WARNING, text=text, mend=mend)


def wrong(subject: str, text: str, mend: str) -> Finding:
    """Return that something does not work."""
    return Finding(subject=subject, level=Level.WRONG, text=text, mend=mend)
