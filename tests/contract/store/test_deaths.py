"""Workers that die: which actions are blamed for it, and how those that may be to blame harm few others."""

from random import Random

import pytest

from tests.support.stores import ENGINE, LEASE, StoreBed
from tutumd.model import ActionState, Claim
from tutumd.store.queue.leases import PAUSES_S
from tutumd.worker.perform import MAX_DEATHS

KILLER = "web"
"""The service whose actions kill their workers."""


class Server:
    """A server that performs up to `slots` actions at once, and begins again after each death."""

    def __init__(self, bed: StoreBed, slots: int) -> None:
        self.bed = bed
        self.slots = slots
        self.failed: list[str] = []
        self.succeeded: list[str] = []
        self._lives = 0
        self._runs: list[Claim] = []

    def claim(self) -> None:
        """Claim what is due; end what has killed too many workers."""
        while len(self._runs) < self.slots:
            claim = self.bed.queue.claim(f"worker {self._lives}", ["docker"], lease=LEASE)
            if claim is None:
                return
            if claim.deaths >= MAX_DEATHS:
                self._end(claim, self.failed, success=False)
            else:
                self._runs.append(claim)

    def finish(self, *kept: str) -> None:
        """End all runs but those of these services."""
        for claim in self._runs:
            if claim.service.name not in kept:
                self._end(claim, self.succeeded, success=True)
        self._runs = [claim for claim in self._runs if claim.service.name in kept]

    def runs(self, name: str) -> bool:
        return any(claim.service.name == name for claim in self._runs)

    def die(self) -> None:
        self._lives += 1
        self._runs.clear()
        self.bed.queue.take_over()
        self.bed.queue.take_over([])  # of the worker process, which has no predecessor

    def _end(self, claim: Claim, ended: list[str], *, success: bool) -> None:
        self.bed.finish(claim, success=success)
        ended.append(claim.service.name)


@pytest.mark.slow
def test_a_crash_loop_of_the_machine_fails_no_action(bed: StoreBed) -> None:
    names = [f"s{number:02}" for number in range(30)]
    bed.show(*names)
    for name in names:
        bed.call(bed.handler(name))
    server, random = Server(bed, slots=16), Random(3)
    for _ in range(100):
        server.claim()
        if random.random() < 0.1:
            server.finish(*random.sample(names, 28))
        bed.clock.move(random.uniform(0.5, 3))
        server.die()
    assert server.failed == []
    while len(server.succeeded) < len(names):
        server.claim()
        server.finish()
        bed.clock.move(1)
    assert server.failed == []
    assert sorted(server.succeeded) == names


@pytest.mark.dialect
def test_an_action_that_kills_its_worker_is_stopped_and_starves_no_other(bed: StoreBed) -> None:
    names = [KILLER, *(f"s{number:02}" for number in range(20))]
    bed.show(*names)
    action = bed.call(bed.handler(KILLER))
    for name in names[1:]:
        bed.call(bed.handler(name))
    server, took_s = Server(bed, slots=16), 0.0
    while not server.failed:
        server.claim()
        if server.runs(KILLER):
            server.die()
        else:
            server.finish()
        bed.clock.move(0.5)
        took_s += 0.5
        if took_s == 45:
            assert sorted(server.succeeded) == names[1:], "the others run while it waits"
    assert server.failed == [KILLER]
    assert bed.store.action(bed.admin, action).state is ActionState.FAILED
    assert took_s < sum(PAUSES_S) + 45


@pytest.mark.slow
def test_two_actions_that_kill_their_workers_do_not_excuse_each_other(bed: StoreBed) -> None:
    """The second one comes while the first one waits, and others run all the time."""
    killers, others = ["k1", "k2"], [f"s{number}" for number in range(4)]
    bed.show(*killers, *others)
    handlers = {name: bed.handler(name) for name in (*killers, *others)}
    bed.call(handlers["k1"])
    server, steps = Server(bed, slots=16), 0
    while len(server.failed) < 2:
        if steps == 6:
            bed.call(handlers["k2"])
        bed.call(handlers[others[steps % 4]])
        server.claim()
        if any(map(server.runs, killers)):
            server.die()
        else:
            server.finish()
        bed.clock.move(0.5)
        steps += 1
        assert steps < 1000, "they are not stopped"
    assert sorted(server.failed) == killers


class Workers:
    """Standalone workers: nobody says which of them died."""

    def __init__(self, bed: StoreBed) -> None:
        self.bed = bed
        self._lives = 0

    def start(self) -> str:
        self._lives += 1
        name = f"worker {self._lives}"
        self.beat(name)
        return name

    def beat(self, name: str) -> None:
        self.bed.queue.register(name, [ENGINE], has_looked=False, slots=16)

    def claim(self, name: str) -> Claim | None:
        return self.bed.queue.claim(name, ["docker"], lease=LEASE)


@pytest.mark.dialect
@pytest.mark.parametrize("life_s", [3, 20])
def test_a_crash_loop_of_standalone_workers_fails_no_action(bed: StoreBed, life_s: float) -> None:
    bed.show("web")
    bed.call(bed.handler("web"))
    workers = Workers(bed)
    deaths: list[int] = []
    for _ in range(round(600 / life_s)):
        claim = workers.claim(workers.start())
        deaths += [claim.deaths] if claim else []
        bed.clock.move(life_s)
    assert deaths[:2] == [0, 1]
    assert set(deaths[2:]) == {2}


@pytest.mark.dialect
@pytest.mark.parametrize("dies_too", [False, True], ids=["alone", "with its neighbor"])
def test_an_action_that_kills_standalone_workers_is_stopped(bed: StoreBed, dies_too: bool) -> None:
    """The neighbor performs nothing: if it dies at the same moment, that excuses no action."""
    bed.show(KILLER)
    bed.call(bed.handler(KILLER))
    workers, took_s = Workers(bed), 0
    first, second = workers.start(), workers.start()
    while True:
        claim = workers.claim(first)
        if claim is not None:
            if claim.deaths >= MAX_DEATHS:
                break
            first = workers.start()
            second = workers.start() if dies_too else second
        for name in (first, second):
            workers.beat(name)
        bed.clock.move(5)
        took_s += 5
        assert took_s < 600, "it is not stopped"
