"""Locks of containers that depend on each other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.support.runs import FakeRun, Killed
from tests.support.waiting import wait_until
from tests.unit.docker.test_progress import Clock, Simulated
from tutumd.engines.docker.apply.redeploy import ComponentLocks
from tutumd.errors import EngineRefusedError, LeaseLostError
from tutumd.model import RunLimits

PARENT = frozenset({"web", "sidecar"})
SIDECAR = frozenset({"sidecar"})
OTHER = frozenset({"other"})


class Waiting(FakeRun):
    """A run that shows that it waits, and may end there."""

    def __init__(self, *, when_waiting: Callable[[], object] = lambda: None, **options: object) -> None:
        super().__init__(on_log=lambda line: self.waits.set(), on_sleep=when_waiting, **options)  # type: ignore[arg-type]
        self.waits = Event()


def test_redeploys_with_a_common_container_take_turns_and_others_do_not_wait() -> None:
    locks, order = ComponentLocks(), []
    ends = [Event(), Event()]
    runs = [Waiting(), Waiting(), Waiting()]

    def hold(number: int, names: frozenset[str]) -> None:
        with locks.hold(names, runs[number]):
            order.append(number)
            if number < len(ends):
                assert ends[number].wait(120)

    with ThreadPoolExecutor(3) as pool:
        holds = [pool.submit(hold, 0, PARENT)]
        wait_until(lambda: order == [0], "the first one holds its containers")
        holds.append(pool.submit(hold, 1, SIDECAR))
        assert runs[1].waits.wait(30)
        # This one came last, and waits for the second one too.
        holds.append(pool.submit(hold, 2, PARENT))
        assert runs[2].waits.wait(30)
        with locks.hold(OTHER, FakeRun()):
            assert order == [0]
        ends[0].set()
        wait_until(lambda: order == [0, 1], "the second one has its turn")
        ends[1].set()
        for each in holds:
            each.result(120)
    assert order == [0, 1, 2]
    assert runs[1].lines == ["waiting until another redeploy has finished with sidecar"]


def test_a_redeploy_that_waits_holds_nothing_of_what_nobody_wants_before_it() -> None:
    locks, held = ComponentLocks(), Event()

    class Trying(Waiting):
        def sleep(self, seconds: float) -> None:
            with locks.hold(OTHER, FakeRun()):
                held.set()
            raise Killed("while it waits")

    with locks.hold(SIDECAR, FakeRun()), pytest.raises(Killed), locks.hold(PARENT, Trying()):
        pass
    assert held.is_set()


def test_one_that_waits_ends_when_its_lease_is_lost() -> None:
    locks = ComponentLocks()
    lost = FakeRun(kill_in_sleep=True, error=LeaseLostError)
    with locks.hold(PARENT, FakeRun()), pytest.raises(LeaseLostError), locks.hold(SIDECAR, lost):
        pass
    with locks.hold(PARENT, FakeRun()):
        pass


class Canceled(Waiting):
    """A run that is canceled while it waits: then it has no time left, and no limit is over."""

    def remaining_s(self) -> float:
        return 0.0 if self.waits.is_set() else 60.0


def test_one_that_waits_can_be_canceled_unless_it_is_half_done() -> None:
    locks = ComponentLocks()
    with (
        locks.hold(PARENT, FakeRun()),
        pytest.raises(EngineRefusedError, match=r"^another redeploy still works on sidecar$"),
        locks.hold(SIDECAR, Canceled()),
    ):
        pass
    holder = locks.hold(PARENT, FakeRun())
    holder.__enter__()

    def end_the_other() -> None:
        if not ended.is_set():
            ended.set()
            holder.__exit__(None, None, None)

    ended = Event()
    with locks.hold(SIDECAR, Canceled(journal={"phase": "swap"}, when_waiting=end_the_other)):
        assert ended.is_set()


def test_waiting_for_another_redeploy_is_no_stall() -> None:
    locks = ComponentLocks()
    holder = locks.hold(PARENT, FakeRun())
    holder.__enter__()
    waits: list[None] = []

    def count() -> None:
        waits.append(None)
        if len(waits) == 5000:
            holder.__exit__(None, None, None)

    clock = Clock()
    with locks.hold(SIDECAR, Simulated(clock, on_sleep=count)):
        assert clock.now > RunLimits().stall_s
