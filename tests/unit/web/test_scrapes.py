"""Scrapes of `/metrics` share one read of the database, which may end after all of them."""

import asyncio
import gc
import threading
from typing import Any

from tutumd.errors import UnavailableError
from tutumd.metrics import CallMetrics
from tutumd.model import Figures
from tutumd.web.scrapes import Scrapes


class HungReader:
    """Reads figures from a database that hangs, and then breaks off the read."""

    def __init__(self) -> None:
        self.reads = 0
        self.may_end = threading.Event()

    def read(self) -> Figures:
        self.reads += 1
        assert self.may_end.wait(120)
        raise UnavailableError("the database is away")


async def test_scrapes_at_one_time_share_one_read() -> None:
    reader = HungReader()
    scrapes = Scrapes(reader.read, "1")
    waiting = [asyncio.ensure_future(scrapes.render(CallMetrics(), "")) for _ in range(8)]
    await until_read(reader)
    reader.may_end.set()
    assert {b"tutumd_database_up 0.0" in text for text, _ in await asyncio.gather(*waiting)} == {True}
    assert reader.reads == 1


def test_a_read_that_fails_after_its_scrape_is_not_reported_as_a_fault() -> None:
    faults: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
        reader = HungReader()
        scrapes = Scrapes(reader.read, "1")
        scrape = asyncio.ensure_future(scrapes.render(CallMetrics(), ""))
        await until_read(reader)
        scrape.cancel()
        await asyncio.wait([scrape])
        reader.may_end.set()
        while len(asyncio.all_tasks()) > 1:  # the read
            await asyncio.sleep(0.001)
        del scrapes, scrape
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert faults == []


async def until_read(reader: HungReader) -> None:
    while not reader.reads:
        await asyncio.sleep(0.001)
