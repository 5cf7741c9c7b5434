"""Seconds that never decrease, and that also count while the machine sleeps."""

import time


def boottime_s() -> float:
    """Return the seconds since a moment that is the same for all processes of a machine until it reboots.

    `time.monotonic` stops while the machine sleeps, so a lease measured by it would outlive its end.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
