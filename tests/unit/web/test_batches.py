"""Calls are stored in batches, and each caller gets the result of its own call."""

import asyncio
from collections.abc import Sequence
from threading import Thread

from tutumd.errors import NotFoundError, UnavailableError
from tutumd.model import Accepted, Call, Operation, Origin
from tutumd.ports.intake import CallResult, OnStored
from tutumd.web.call import batches
from tutumd.web.call.batches import Batches


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


async def end_batch(intake: HeldIntake) -> None:
    while not intake.held:
        await asyncio.sleep(0.001)
    intake.end_batch()


def action_of(result: CallResult) -> str:
    assert isinstance(result, Accepted), result
    return result.action_uuid


async def test_a_single_call_is_stored_at_once_and_calls_during_a_batch_together() -> None:
    intake = HeldIntake()
    calls = Batches(intake)
    first = asyncio.ensure_future(calls.store(call(100)))
    await asyncio.sleep(0.01)
    others = [asyncio.ensure_future(calls.store(call(number))) for number in range(11, 60)]
    await asyncio.sleep(0.05)
    assert intake.sizes == [1]
    await end_batch(intake)
    assert action_of(await first) == "100"
    await end_batch(intake)
    results = await asyncio.gather(*others)
    assert intake.sizes == [1, 49]
    assert isinstance(results.pop(2), NotFoundError), "an error is that of its call alone"
    assert list(map(action_of, results)) == ["11", "12", *map(str, range(14, 60))]


async def test_a_failing_callback_delays_no_other_call() -> None:
    intake = HeldIntake()
    calls = Batches(intake)

    def fail(_: CallResult) -> None:
        raise RuntimeError("the connection is gone")

    beside: list[CallResult] = []
    calls.submit(call(20), fail)
    calls.submit(call(21), beside.append)
    await end_batch(intake)
    later = asyncio.ensure_future(calls.store(call(22)))
    await end_batch(intake)
    assert list(map(action_of, [*beside, await later])) == ["21", "22"]


def test_beyond_the_limit_a_call_is_refused_at_once() -> None:
    async def flood() -> list[CallResult]:
        calls, results, one = Batches(HeldIntake()), list[CallResult](), call(20)
        for _ in range(batches.MAX_WAITING + 7):
            calls.submit(one, results.append)
        return results

    refused = asyncio.run(flood())
    assert [type(result) for result in refused] == [UnavailableError] * 7


async def test_calls_are_refused_at_once_while_the_database_has_taken_none_for_long() -> None:
    intake = HeldIntake()
    calls = Batches(intake)
    intake.failing = batches.MAX_STALL_S + 1
    assert "nothing was changed" in str(await calls.store(call(1)))
    assert intake.sizes == []
    intake.failing = None
    stored = asyncio.ensure_future(calls.store(call(2)))
    await end_batch(intake)
    assert action_of(await stored) == "2"


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
        hanging = asyncio.ensure_future(calls.store(call(1)))
        while not intake.held:
            await asyncio.sleep(0.001)
        loop.skipped_s = batches.MAX_STALL_S
        assert "nothing was changed" in str(await calls.store(call(2)))
        intake.end_batch()
        return action_of(await hanging)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(behind()) == "1"
