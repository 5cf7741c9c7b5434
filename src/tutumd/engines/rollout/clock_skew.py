"""The difference between the clock of this machine and that of another one."""

from tutumd.model.findings import Finding, ok, warning

_TOLERATED_S = 2.0


def compare_clocks(subject: str, there: float, before: float, after: float) -> list[Finding]:
    """Compare a reading of another clock with those of this one before and after it. All are seconds since 1970."""
    skew_s = there - after if there > after else before - there if there < before else 0.0
    if skew_s > _TOLERATED_S:
        direction = "ahead of" if there > after else "behind"
        text = f"its clock is {skew_s:,.0f} s {direction} that of this machine"
        return [warning(subject, text, "synchronize both clocks: timedatectl set-ntp true, or chrony")]
    return [ok(subject, "its clock and that of this machine agree")]
