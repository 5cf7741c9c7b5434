"""Housekeeping of a worker: batches of each task in turn, with the limits of the settings."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from tests.support.runs import SEAL
from tutumd.ports.queue import Queue
from tutumd.worker.loop import LOG_BATCH, PRUNE_BATCH, Worker, WorkerLimits

LIMITS = WorkerLimits(server_cap=1, keep=timedelta(days=7), keep_audit=timedelta(days=9), log_rows=50, log_bytes=4096)


class BusyQueue:
    """A queue in which each task has so many batches left."""

    def __init__(self, **batches: int) -> None:
        self.left = batches
        self.done: list[tuple[object, ...]] = []

    def count_calls(self) -> bool:
        return self._do("count")

    def trim_logs(self, limit: int, *, log_rows: int, log_bytes: int) -> bool:
        return self._do("trim", limit, log_rows, log_bytes)

    def prune(self, keep: timedelta, limit: int, *, keep_audit: timedelta) -> bool:
        return self._do("prune", keep, limit, keep_audit)

    def wake(self) -> None:
        """Do nothing: no thread waits."""

    def _do(self, task: str, *arguments: object) -> bool:
        self.done.append((task, *arguments))
        self.left[task] = self.left.get(task, 0) - 1
        return self.left[task] > 0


def clean_up(queue: BusyQueue, *, prunes: bool) -> tuple[bool, Sequence[object]]:
    worker = Worker(cast(Queue, queue), {}, LIMITS, lambda: datetime.now(UTC), seal=SEAL)
    return worker._clean_up(prunes=prunes), [task for task, *_ in queue.done]


def test_a_task_with_more_batches_goes_on_beside_the_others() -> None:
    queue = BusyQueue(count=3, trim=1, prune=2)
    has_more, order = clean_up(queue, prunes=True)
    assert order == ["count", "trim", "prune", "count", "prune", "count"]
    assert not has_more
    assert queue.done[1] == ("trim", LOG_BATCH, 50, 4096)
    assert queue.done[2] == ("prune", timedelta(days=7), PRUNE_BATCH, timedelta(days=9))


def test_old_rows_are_looked_for_less_often() -> None:
    assert clean_up(BusyQueue(), prunes=False) == (False, ["count", "trim"])


def test_pruning_that_did_not_end_goes_on_at_the_next_heartbeat() -> None:
    queue = BusyQueue(prune=1_000)
    worker = Worker(cast(Queue, queue), {}, LIMITS, lambda: datetime.now(UTC), seal=SEAL)
    worker._stop.set()
    assert worker._clean_up(prunes=True)
