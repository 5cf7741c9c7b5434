"""Processor time relative to a fixed computation, which hardly depends on the machine and on what else it does."""

import json
import time
from collections.abc import Callable

_TEXT = json.dumps([{"number": number, "text": "a" * 20} for number in range(2_000)])


def work_of(call: Callable[[], object], rounds: int = 1) -> float:
    """Return the processor time of a call as a multiple of that of a fixed computation of about a millisecond.

    Each call runs between two such computations. The result is the lowest of all rounds.
    """
    return min(_measure(call) for _ in range(rounds))


def _measure(call: Callable[[], object]) -> float:
    before = _timed(_compute)
    taken = _timed(call)
    return 2 * taken / (before + _timed(_compute))


def _timed(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _compute() -> None:
    json.loads(_TEXT)
