"""Results of other threads reach the coroutines that wait for them."""

import asyncio
from concurrent.futures import Future
from threading import Thread

import pytest

from tutumd.web.arrivals import Arrivals


def test_each_waiter_gets_its_own_result_whenever_it_comes() -> None:
    async def wait_for_many() -> list[int]:
        arrivals: Arrivals[int] = Arrivals()
        futures: list[Future[int]] = [Future() for _ in range(1000)]
        futures[0].set_result(0)

        def finish() -> None:
            for number, future in enumerate(futures[1:], 1):
                future.set_result(number)

        thread = Thread(target=finish)
        waiting = [asyncio.ensure_future(arrivals.wait(future)) for future in futures]
        thread.start()
        results = await asyncio.wait_for(asyncio.gather(*waiting), 30)
        thread.join()
        return results

    assert asyncio.run(wait_for_many()) == list(range(1000))


def test_an_error_is_raised_where_its_result_is_awaited() -> None:
    async def wait() -> None:
        future: Future[int] = Future()
        future.set_exception(ValueError("no"))
        await asyncio.wait_for(Arrivals[int]().wait(future), 30)

    with pytest.raises(ValueError, match="no"):
        asyncio.run(wait())


def test_who_stops_waiting_cancels_what_has_not_begun() -> None:
    async def give_up() -> Future[int]:
        future: Future[int] = Future()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Arrivals[int]().wait(future), 0.01)
        return future

    assert asyncio.run(give_up()).cancelled()
