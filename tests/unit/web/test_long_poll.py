"""Waiting calls read the database together, and not all the time."""

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tutumd.errors import NotFoundError
from tutumd.model import Progress, Reference
from tutumd.web.call.long_poll import LongPoll

READ_S = 0.01


class BusyStore:
    """A store where actions end all the time, but none that is waited for."""

    def __init__(self) -> None:
        self.reads: list[int] = []

    def progress(self, references: Sequence[Reference]) -> dict[Reference, Progress]:
        self.reads.append(len(references))
        time.sleep(READ_S)
        running = cast(Any, SimpleNamespace(ended=None))
        return dict.fromkeys(references, Progress(action=running, options={}))

    def wait_for_end(self, seen: int, timeout_s: float) -> int:
        return seen + 1


def test_many_ends_and_many_waiters_cost_few_reads() -> None:
    store = BusyStore()

    async def wait() -> tuple[list[int], float]:
        poll = LongPoll(cast(Any, store))
        waiting = [asyncio.ensure_future(poll.wait_until_ended(Reference(1, number), 300)) for number in range(20)]
        while max(store.reads, default=0) < 20:
            await asyncio.sleep(READ_S)
        before, began = len(store.reads), time.monotonic()
        while time.monotonic() - began < 1:
            await asyncio.sleep(READ_S)
        reads, took_s = store.reads[before:], time.monotonic() - began
        poll.stop()
        await asyncio.gather(*waiting)
        return reads, took_s

    reads, took_s = asyncio.run(wait())
    assert len(reads) <= took_s / (3 * READ_S) + 2
    assert set(reads) == {20}, "all wait together"


class EmptyStore(BusyStore):
    """A store in which the action was deleted."""

    def progress(self, references: Sequence[Reference]) -> dict[Reference, Progress]:
        return {}


def test_a_wait_for_an_action_that_is_deleted_ends_at_once() -> None:
    async def wait() -> None:
        await LongPoll(cast(Any, EmptyStore())).wait_until_ended(Reference(1, 1), 300)

    with pytest.raises(NotFoundError):
        asyncio.run(wait())
