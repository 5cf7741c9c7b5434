"""Seconds that only ever grow, and go on while the machine sleeps."""

import time


def boottime_s() -> float:
    """Seconds since some moment; the same moment for all processes of a machine until it starts anew.

    Linux stops CLOCK_MONOTONIC, which `time.monotonic` reads, while the machine sleeps: a lease would outlive its end.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
