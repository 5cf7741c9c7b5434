"""Slots bound how many runs a worker performs at once, on each engine and in all."""

from threading import Event

from tests.support.waiting import wait_until
from tutumd.threads import Slots


class Tasks:
    """Slots, and tasks that run until they are let go."""

    def __init__(self, *engines: str, per_kind: int, in_all: int) -> None:
        self.freed = 0
        self.slots: Slots[str] = Slots(engines, per_kind=per_kind, in_all=in_all, on_free=self._count)
        self._go_on: dict[str, Event] = {}

    def begin(self, *tasks: str) -> None:
        """Begin tasks, each of which is named after its engine: `a1`."""
        for task in tasks:
            self._go_on[task] = Event()
            self.slots.start(task[0], task, self._wait)

    def end(self, *tasks: str) -> None:
        """Let tasks end, and wait until their slots are free."""
        expected = self.freed + len(tasks)
        for task in tasks:
            self._go_on[task].set()
        wait_until(lambda: self.freed == expected, "the slots are free")

    def end_all(self) -> None:
        self.end(*self.slots.tasks())

    def _wait(self, task: str) -> None:
        assert self._go_on[task].wait(120)

    def _count(self) -> None:
        self.freed += 1


def test_a_slot_is_free_again_when_its_task_has_ended() -> None:
    tasks = Tasks("a", per_kind=1, in_all=1)
    tasks.begin("a1")
    assert (tasks.slots.tasks(), tasks.slots.free()) == (["a1"], [])
    tasks.end("a1")
    assert (tasks.slots.tasks(), tasks.slots.free()) == ([], ["a"])


def test_an_engine_without_a_free_slot_takes_none_of_anothers() -> None:
    tasks = Tasks("a", "b", per_kind=2, in_all=10)
    tasks.begin("a1", "a2")
    assert tasks.slots.free() == ["b"]
    tasks.end_all()


def test_beyond_the_cap_the_next_slot_is_of_the_engine_with_the_fewest_tasks() -> None:
    tasks = Tasks("a", "b", "c", per_kind=10, in_all=4)
    tasks.begin("a1", "a2", "a3", "b1")
    assert tasks.slots.free() == []
    tasks.end("a1")
    assert tasks.slots.free() == ["c", "b", "a"]
    tasks.end_all()


def test_engines_with_as_many_tasks_take_turns() -> None:
    tasks = Tasks("a", "b", "c", per_kind=10, in_all=10)
    turns = []
    for number in range(6):
        engine = tasks.slots.free()[0]
        turns.append(engine)
        tasks.begin(f"{engine}{number}")
        tasks.end(f"{engine}{number}")
    assert turns == ["a", "b", "c", "a", "b", "c"]
