"""Turns: of requests that begin, and of the heavy work of calls."""

import asyncio
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest

from tutumd.errors import UnavailableError
from tutumd.model import Call, Origin
from tutumd.web.call import batches
from tutumd.web.call.batches import HeavyWork
from tutumd.web.pace import BURST_S, MIN_PAUSE_S, Pace

CALL = Call(service_uuid="s", handler_uuid="h", amount=1, origin=Origin(address="", user_agent=""), body_size=0)


def test_requests_begin_one_by_one_and_other_work_runs_in_between() -> None:
    begun: list[int] = []

    async def begin(pace: Pace, number: int) -> None:
        await pace.wait()
        begun.append(number)

    async def run() -> None:
        pace = Pace()
        tasks = [asyncio.ensure_future(begin(pace, number)) for number in range(20)]
        before = 0
        while len(begun) < 20:
            await asyncio.sleep(0)
            assert len(begun) - before <= 1, "at most one begins in a round of the event loop"
            before = len(begun)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert begun == list(range(20))


async def test_what_exceeds_a_burst_begins_with_pauses() -> None:
    pace, began = Pace(), time.monotonic()
    burst = round(BURST_S / MIN_PAUSE_S)
    for _ in range(3 * burst):
        await pace.wait()
    assert time.monotonic() - began > burst * MIN_PAUSE_S


async def test_a_request_that_gives_up_holds_up_nobody() -> None:
    pace = Pace()
    await pace.wait()
    tasks = [asyncio.ensure_future(pace.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.gather(*tasks[1:])


def test_heavy_work_runs_once_for_each_handler_and_twice_in_all() -> None:
    lock, order, running, most = threading.Lock(), list[str](), Counter[str](), Counter[str]()

    def work(name: str) -> Call:
        with lock:
            order.append(name)
            running.update([name, "all"])
            most.update({each: running[each] - most[each] for each in (name, "all") if running[each] > most[each]})
        threading.Event().wait(0.01)
        with lock:
            running.subtract([name, "all"])
        return CALL

    async def run() -> None:
        heavy = HeavyWork()
        names = ["many"] * 10 + ["a", "b", "c"]
        works = [heavy.run(("s", name), 1, partial(work, name)) for name in names]
        assert await asyncio.gather(*works) == [CALL] * len(names)

    asyncio.run(run())
    assert most == {"many": 1, "a": 1, "b": 1, "c": 1, "all": 2}
    assert max(order.index(name) for name in "abc") <= 6, "a handler with many calls holds up no other one"


SHARE = batches.MAX_BYTES // batches.SHARE - batches.CALL_BYTES


async def test_heavy_work_beyond_its_bytes_is_refused_and_a_failure_is_its_own() -> None:
    def fail() -> Call:
        raise RuntimeError("broken")

    heavy, size = HeavyWork(), SHARE // 2 - batches.CALL_BYTES
    kept = [asyncio.ensure_future(heavy.run(("s", "h"), size, each)) for each in (fail, lambda: CALL)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError):
        await heavy.run(("s", "h"), SHARE // 2, lambda: CALL)
    results: list[Any] = await asyncio.gather(*kept, return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError, Call]
    assert await heavy.run(("s", "h"), SHARE, lambda: CALL) == CALL
    with pytest.raises(UnavailableError):
        await heavy.run(("s", "h"), SHARE + 1, lambda: CALL)


@pytest.mark.parametrize("hostile", [1, 8])
async def test_handlers_with_very_many_calls_leave_room_for_other_handlers(hostile: int) -> None:
    heavy, go_on, size = HeavyWork(), threading.Event(), 1024 * 1024

    def work() -> Call:
        go_on.wait(60)
        return CALL

    names = [f"hostile {number % hostile}" for number in range(70 * hostile)]
    tasks = [asyncio.ensure_future(heavy.run(("s", name), size, work)) for name in names]
    await asyncio.sleep(0)
    mine = asyncio.ensure_future(heavy.run(("s", "mine"), size, work))
    await asyncio.sleep(0)
    assert not mine.done(), "it waits for its turn"
    go_on.set()
    results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert await mine == CALL
    kinds = Counter(type(result) for result in results)
    assert kinds[Call] + kinds[UnavailableError] == len(names)
    assert hostile <= kinds[Call] <= 64
