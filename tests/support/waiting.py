"""Waiting for a condition instead of a time."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | Literal[False] | None], what: str, timeout_s: float = 120.0, pause_s: float = 0.05
) -> T:
    """Call `condition` until it returns something true, and return that.

    Raises:
        TimeoutError: `what` did not happen within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for: {what}; last seen: {result!r}")
        time.sleep(pause_s)
