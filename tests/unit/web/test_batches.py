"""Calls reach the intake in batches, and each caller gets the result of its own call."""

import asyncio
from collections.abc import Sequence
from threading import Thread

import pytest

from tutumd.errors import NotFoundError, UnavailableError
from tutumd.model import Accepted, Call, Operation, Origin
from tutumd.ports import OnStored, Result
from tutumd.web.call import batches
from tutumd.web.call.batches import Batches


class Recorded:
    """An intake that answers each call with its amount as the action; batches are let through one by one."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.held: list[Thread] = []

    def store(self, calls: Sequence[Call], tell: OnStored) -> None:
        self.sizes.append(len(calls))
        results: list[Result] = [
            NotFoundError("no")
            if call.amount == 13
            else Accepted(
                name=None, operation=Operation.REDEPLOY, action_uuid=str(call.amount), handler_seq=1, action_seq=1
            )
            for call in calls
        ]
        self.held.append(Thread(target=tell, args=(results,)))

    def let_through(self) -> None:
        self.held.pop(0).start()


def call(number: int) -> Call:
    return Call(
        service_uuid="s", handler_uuid="h", amount=number, origin=Origin(address="", user_agent=""), body_size=0
    )


def store(stored: Batches, one: Call) -> "asyncio.Future[Accepted]":
    waiter: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()

    def tell(result: Result) -> None:
        if isinstance(result, Exception):
            waiter.set_exception(result)
        else:
            assert isinstance(result, Accepted)
            waiter.set_result(result)

    stored.submit(one, tell)
    return waiter


async def until_held(intake: Recorded) -> None:
    while not intake.held:
        await asyncio.sleep(0.001)


def test_a_call_that_is_alone_is_handed_over_at_once_and_those_that_come_meanwhile_together() -> None:
    async def many() -> tuple[list[int], list[str]]:
        intake = Recorded()
        stored = Batches(intake)
        first = store(stored, call(100))
        await asyncio.wait_for(until_held(intake), 10)
        others = [store(stored, call(number)) for number in range(20, 60)]
        await asyncio.sleep(0.05)
        assert intake.sizes == [1]
        intake.let_through()
        await asyncio.wait_for(first, 10)
        await asyncio.wait_for(until_held(intake), 10)
        intake.let_through()
        return intake.sizes, [done.action_uuid for done in await asyncio.wait_for(asyncio.gather(*others), 10)]

    sizes, results = asyncio.run(many())
    assert sizes == [1, 40]
    assert results == [str(number) for number in range(20, 60)]


def test_the_error_of_one_call_is_not_that_of_the_others() -> None:
    async def some() -> list[Accepted | BaseException]:
        intake = Recorded()
        stored = Batches(intake)
        waiting = [store(stored, call(number)) for number in (12, 13, 14)]
        await asyncio.wait_for(until_held(intake), 10)
        intake.let_through()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)

    before, refused, after = asyncio.run(some())
    assert isinstance(before, Accepted)
    assert isinstance(refused, NotFoundError)
    assert isinstance(after, Accepted)


def test_an_answer_that_fails_holds_up_no_other_call() -> None:
    async def some() -> list[Accepted]:
        intake = Recorded()
        stored = Batches(intake)

        def fail(_: Result) -> None:
            raise RuntimeError("the connection is gone")

        stored.submit(call(20), fail)
        beside = store(stored, call(21))
        await asyncio.wait_for(until_held(intake), 10)
        intake.let_through()
        results = [await asyncio.wait_for(beside, 10)]
        later = store(stored, call(22))
        await asyncio.wait_for(until_held(intake), 10)
        intake.let_through()
        return [*results, await asyncio.wait_for(later, 10)]

    assert [result.action_uuid for result in asyncio.run(some())] == ["21", "22"]


def test_beyond_the_limit_a_call_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_WAITING", 3)

    async def flood() -> int:
        intake = Recorded()
        stored = Batches(intake)
        waiting = [store(stored, call(number)) for number in range(20, 30)]
        await asyncio.wait_for(until_held(intake), 10)
        intake.let_through()
        done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        return sum(isinstance(one, UnavailableError) for one in done)

    assert asyncio.run(flood()) == 7


def test_a_batch_begins_as_soon_as_all_senders_of_the_one_before_are_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def back_again() -> list[int]:
        intake = Recorded()
        stored = Batches(intake)
        first = [store(stored, call(number)) for number in (20, 21, 22)]
        await asyncio.wait_for(until_held(intake), 10)
        intake.let_through()
        await asyncio.wait_for(asyncio.gather(*first), 10)
        monkeypatch.setattr(batches, "PAUSE_S", 3600)
        for number in (23, 24):
            store(stored, call(number))
        await asyncio.sleep(0.01)
        assert intake.sizes == [3]
        store(stored, call(25))
        return intake.sizes

    assert asyncio.run(back_again()) == [3, 3]
