"""Calls are stored in batches, and each caller gets the result of its own call."""

import asyncio
from collections.abc import Sequence
from threading import Thread

import pytest

from tutumd.errors import NotFoundError, UnavailableError
from tutumd.model import Accepted, Call, Operation, Origin
from tutumd.ports.intake import CallResult, OnStored
from tutumd.web.call import batches
from tutumd.web.call.batches import Batches

LIMIT_S = 60


class HeldIntake:
    """An intake whose batches end one by one; the action of a call is its amount."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.held: list[Thread] = []
        self.failing: float | None = None

    def failing_s(self) -> float | None:
        return self.failing

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        self.sizes.append(len(calls))
        results: list[CallResult] = [
            NotFoundError("no")
            if call.amount == 13
            else Accepted(
                name=None, operation=Operation.REDEPLOY, action_uuid=str(call.amount), handler_seq=1, action_seq=1
            )
            for call in calls
        ]
        self.held.append(Thread(target=on_stored, args=(results,)))

    def end_batch(self) -> None:
        self.held.pop(0).start()


def call(number: int) -> Call:
    return Call(
        service_uuid="s", handler_uuid="h", amount=number, origin=Origin(address="", user_agent=""), body_size=0
    )


def store(calls: Batches, call: Call) -> "asyncio.Future[Accepted]":
    waiter: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()

    def on_result(result: CallResult) -> None:
        if isinstance(result, Exception):
            waiter.set_exception(result)
        else:
            assert isinstance(result, Accepted)
            waiter.set_result(result)

    calls.submit(call, on_result)
    return waiter


async def wait_until_held(intake: HeldIntake) -> None:
    while not intake.held:
        await asyncio.sleep(0.001)


def test_a_single_call_is_stored_at_once_and_calls_during_a_batch_together() -> None:
    async def many() -> tuple[list[int], list[str]]:
        intake = HeldIntake()
        calls = Batches(intake)
        first = store(calls, call(100))
        await asyncio.wait_for(wait_until_held(intake), LIMIT_S)
        others = [store(calls, call(number)) for number in range(20, 60)]
        await asyncio.sleep(0.05)
        assert intake.sizes == [1]
        intake.end_batch()
        await asyncio.wait_for(first, LIMIT_S)
        await asyncio.wait_for(wait_until_held(intake), LIMIT_S)
        intake.end_batch()
        return intake.sizes, [done.action_uuid for done in await asyncio.wait_for(asyncio.gather(*others), LIMIT_S)]

    sizes, results = asyncio.run(many())
    assert sizes == [1, 40]
    assert results == [str(number) for number in range(20, 60)]


def test_an_error_concerns_only_its_call() -> None:
    async def some() -> list[Accepted | BaseException]:
        intake = HeldIntake()
        calls = Batches(intake)
        waiting = [store(calls, call(number)) for number in (12, 13, 14)]
        await asyncio.wait_for(wait_until_held(intake), LIMIT_S)
        intake.end_batch()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), LIMIT_S)

    before, refused, after = asyncio.run(some())
    assert isinstance(before, Accepted)
    assert isinstance(refused, NotFoundError)
    assert isinstance(after, Accepted)


def test_a_failing_callback_delays_no_other_call() -> None:
    async def some() -> list[Accepted]:
        intake = HeldIntake()
        calls = Batches(intake)

        def fail(_: CallResult) -> None:
            raise RuntimeError("the connection is gone")

        calls.submit(call(20), fail)
        beside = store(calls, call(21))
        await asyncio.wait_for(wait_until_held(intake), LIMIT_S)
        intake.end_batch()
        results = [await asyncio.wait_for(beside, LIMIT_S)]
        later = store(calls, call(22))
        await asyncio.wait_for(wait_until_held(intake), LIMIT_S)
        intake.end_batch()
        return [*results, await asyncio.wait_for(later, LIMIT_S)]

    assert [result.action_uuid for result in asyncio.run(some())] == ["21", "22"]


def test_beyond_the_limit_a_call_is_refused_at_once() -> None:
    async def flood() -> list[CallResult]:
        calls, results, one = Batches(HeldIntake()), list[CallResult](), call(20)
        for _ in range(batches.MAX_WAITING + 7):
            calls.submit(one, results.append)
        return results

    refused = asyncio.run(flood())
    assert [type(result) for result in refused] == [UnavailableError] * 7


def test_calls_are_refused_at_once_while_the_database_has_taken_none_for_long() -> None:
    async def refused_then_stored() -> str:
        intake = HeldIntake()
        calls = Batches(intake)
        intake.failing = batches.MAX_STALL_S + 1
        with pytest.raises(UnavailableError, match="nothing was changed"):
            await asyncio.wait_for(store(calls, call(1)), LIMIT_S)
        assert intake.sizes == []
        intake.failing = None
        stored = store(calls, call(2))
        await asyncio.wait_for(wait_until_held(intake), LIMIT_S)
        intake.end_batch()
        return (await asyncio.wait_for(stored, LIMIT_S)).action_uuid

    assert asyncio.run(refused_then_stored()) == "2"


class MovedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock the test moves."""

    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s


def test_calls_behind_a_batch_that_hangs_are_refused() -> None:
    loop = MovedLoop()

    async def behind() -> str:
        intake = HeldIntake()
        calls = Batches(intake)
        hanging = store(calls, call(1))
        await asyncio.wait_for(wait_until_held(intake), LIMIT_S)
        loop.skipped_s = batches.MAX_STALL_S
        with pytest.raises(UnavailableError, match="nothing was changed"):
            await asyncio.wait_for(store(calls, call(2)), LIMIT_S)
        intake.end_batch()
        return (await asyncio.wait_for(hanging, LIMIT_S)).action_uuid

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(behind()) == "1"
