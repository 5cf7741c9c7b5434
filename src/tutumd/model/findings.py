"""What `tutumd doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters. A WARNING works, but may not do what was meant."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding about one subject.

    Attributes:
        subject: Subject in a word or two: `database`, `engine prod`.
        text: The finding, in one line. Never a secret.
        mend: What to do about it; empty if nothing.
    """

    subject: str
    level: Level
    text: str
    mend: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(subject=subject, level=Level.OK, text=text)


def warning(subject: str, text: str, mend: str) -> Finding:
    """Return a finding about something that works but may not behave as intended."""
    return Finding(subject=subject, level=Level.WARNING, text=text, mend=mend)


def wrong(subject: str, text: str, mend: str) -> Finding:
    """Return a finding about something that does not work."""
    return Finding(subject=subject, level=Level.WRONG, text=text, mend=mend)


_TOLERATED_S = 2.0


def compare_clocks(subject: str, there: float, before: float, after: float) -> list[Finding]:
    """Compare a reading of another clock with readings of this machine's clock before and after it. All values are
    seconds since 1970.
    """
    skew_s = there - after if there > after else before - there if there < before else 0.0
    if skew_s > _TOLERATED_S:
        direction = "ahead of" if there > after else "behind"
        return [
            warning(
                subject,
                f"its clock is {skew_s:,.0f} s {direction} that of this machine",
                "synchronize both clocks: timedatectl set-ntp true, or chrony",
            )
        ]
    return [ok(subject, "its clock and that of this machine agree")]
