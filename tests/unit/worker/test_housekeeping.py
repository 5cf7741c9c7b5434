"""Housekeeping of a worker: batches of each task in turn, with the limits of the settings."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from threading import Event
from typing import cast

from tests.support.runs import SEAL
from tests.support.waiting import wait_until
from tests.unit.worker.fakes import FakeClock
from tutumd.model import EngineInfo
from tutumd.ports.queue import Queue
from tutumd.worker.loop import HEARTBEATS_PER_PRUNE, LOG_BATCH, PRUNE_BATCH, Worker, WorkerLimits

LIMITS = WorkerLimits(
    server_cap=1, keep=timedelta(days=7), keep_audit=timedelta(days=9), log_rows=50, log_bytes=4096, heartbeat_s=0.01
)
BEAT = ("heartbeat",)


class BusyQueue:
    """A queue in which each task has so many batches left at the first prune, each of which takes a second."""

    def __init__(self, clock: FakeClock, batch_s: float, **batches: int) -> None:
        self.left: dict[str, int] = {}
        self.done: list[tuple[object, ...]] = []
        self._clock = clock
        self._batch_s = batch_s
        self._batches = batches
        self._woken = Event()

    def register(self, worker: str, served: Sequence[EngineInfo], *, has_looked: bool, slots: int) -> None:
        if self.done.count(BEAT) == HEARTBEATS_PER_PRUNE:
            self.left = dict(self._batches)
        self.done.append(BEAT)

    def count_calls(self) -> bool:
        return self._do("count")

    def trim_logs(self, limit: int, *, log_rows: int, log_bytes: int) -> bool:
        return self._do("trim", limit, log_rows, log_bytes)

    def prune(self, keep: timedelta, limit: int, *, keep_audit: timedelta) -> bool:
        return self._do("prune", keep, limit, keep_audit)

    def wake(self) -> None:
        self._woken.set()

    def wait(self, timeout_s: float) -> None:
        self._woken.wait(timeout_s)

    def _do(self, task: str, *arguments: object) -> bool:
        self.done.append((task, *arguments))
        self._clock.now += self._batch_s
        self.left[task] = self.left.get(task, 0) - 1
        return self.left[task] > 0


def heartbeats(batch_s: float = 0.0, **batches: int) -> list[list[tuple[object, ...]]]:
    """Return what each heartbeat did until the second one after the first prune."""
    clock = FakeClock()
    queue = BusyQueue(clock, batch_s, **batches)
    worker = Worker(cast(Queue, queue), {}, LIMITS, seal=SEAL, name="worker", monotonic=clock)
    worker.start()
    try:
        wait_until(lambda: queue.done.count(BEAT) > HEARTBEATS_PER_PRUNE + 2, "enough heartbeats were sent")
    finally:
        worker.stop(0)
    return [list(group) for is_beat, group in groupby(queue.done, BEAT.__eq__) if not is_beat]


def test_a_task_with_more_batches_goes_on_beside_the_others() -> None:
    done = heartbeats(count=3, trim=1, prune=2)[HEARTBEATS_PER_PRUNE - 1]
    assert [task for task, *_ in done] == ["count", "trim", "prune", "count", "prune", "count"]
    assert done[1] == ("trim", LOG_BATCH, 50, 4096)
    assert done[2] == ("prune", timedelta(days=7), PRUNE_BATCH, timedelta(days=9))


def test_old_rows_are_looked_for_less_often() -> None:
    beats = [[task for task, *_ in beat] for beat in heartbeats()[: HEARTBEATS_PER_PRUNE + 1]]
    often, rarely = ["count", "trim"], ["count", "trim", "prune"]
    assert beats == [*[often] * (HEARTBEATS_PER_PRUNE - 1), rarely, often]


def test_pruning_that_did_not_end_goes_on_at_the_next_heartbeat() -> None:
    beats = heartbeats(batch_s=LIMITS.heartbeat_s, prune=1_000)[HEARTBEATS_PER_PRUNE - 1 :]
    assert [[task for task, *_ in beat] for beat in beats[:2]] == [["count", "trim", "prune"]] * 2
