"""Faults in the middle of a round. At the end of each fault, what it broke runs again."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.faults.bed import Bed
from tests.faults.checks import TAKEOVER_S, takeovers
from tests.faults.databases import PostgresServer, SqliteDisk
from tests.faults.evidence import Down
from tests.faults.journal import open_runs
from tests.faults.processes import Program

LEASE_S = 10.0
"""How long a worker keeps an action without a sign of life: WorkerLimits.lease of tutumd/worker/loop.py."""

_LOOK_S = 0.02
_BUSY_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault.

    Attributes:
        kinds: Databases with which it can happen.
        together: Needs one `tutumd serve` (True) or several processes (False); None: either.
    """

    name: str
    act: Callable[[Bed, random.Random], list[Down]]
    kinds: tuple[str, ...] = ("sqlite", "postgresql")
    together: bool | None = None


def kill_web(bed: Bed, chance: random.Random) -> list[Down]:
    """Kill a web replica while it takes calls, and start it again as a service manager does."""
    return _restart_web(bed, chance, Program.kill)


def end_web(bed: Bed, chance: random.Random) -> list[Down]:
    """End a web replica as a service manager would (SIGTERM), and start it again."""
    return _restart_web(bed, chance, Program.stop)


def _restart_web(bed: Bed, chance: random.Random, end: Callable[[Program], object]) -> list[Down]:
    web = chance.choice(bed.webs)
    time.sleep(chance.uniform(0, 0.5))
    end(web)
    time.sleep(chance.uniform(0, 2))
    bed.start_ended()
    return []


def stop_web(bed: Bed, chance: random.Random) -> list[Down]:
    """Stop a web replica (SIGSTOP) for longer than PostgreSQL lets its transaction be, and let it go on."""
    web = chance.choice(bed.webs)
    time.sleep(chance.uniform(0, 0.5))
    web.pause()
    time.sleep(chance.uniform(11, 14))
    web.resume()
    return []


def kill_server(bed: Bed, chance: random.Random) -> list[Down]:
    """Kill the edge and its worker in the middle of a run."""
    return _restart_server(bed, chance, Program.kill)


def kill_edge(bed: Bed, chance: random.Random) -> list[Down]:
    """Kill the edge in the middle of a run of its worker, which ends by itself."""
    return _restart_server(bed, chance, Program.kill_parent)


def _restart_server(bed: Bed, chance: random.Random, end: Callable[[Program], object]) -> list[Down]:
    server = _busy_worker(bed, chance)
    pid = server.worker_pid
    end(server)
    down = Down(worker=pid, at=time.monotonic())
    time.sleep(chance.uniform(0, 1))
    bed.start_ended()
    _wait_taken_over(bed, down)
    return [down]


def kill_child(bed: Bed, chance: random.Random) -> list[Down]:
    """Kill the edge's worker in the middle of a run. The edge starts a new one."""
    pid = _busy_worker(bed, chance).worker_pid
    os.kill(pid, signal.SIGKILL)
    down = Down(worker=pid, at=time.monotonic())
    _wait_taken_over(bed, down)
    return [down]


def kill_worker(bed: Bed, chance: random.Random) -> list[Down]:
    """Kill a worker in the middle of a run; it is started again only after the other one took over."""
    return _restart_worker(bed, chance, Program.kill)


def end_worker(bed: Bed, chance: random.Random) -> list[Down]:
    """End a worker with SIGTERM, as a service manager does. It hands over what it cannot finish in time."""
    return _restart_worker(bed, chance, Program.stop)


def _restart_worker(bed: Bed, chance: random.Random, end: Callable[[Program], object]) -> list[Down]:
    worker = _busy_worker(bed, chance)
    pid = worker.pid
    end(worker)
    down = Down(worker=pid, at=time.monotonic())
    _wait_taken_over(bed, down)
    worker.start()
    return [down]


def stop_worker(bed: Bed, chance: random.Random) -> list[Down]:
    """Stop a worker (SIGSTOP) in the middle of a run, past its lease, and let it go on."""
    worker = _busy_worker(bed, chance)
    worker.pause()
    while isinstance(bed.database, SqliteDisk) and bed.database.is_locked():
        # Stopped within a write: on SQLite nobody can write, and so take over, before it goes on. Calls get a 503.
        worker.resume()
        worker = _busy_worker(bed, chance)
        worker.pause()
    down = Down(worker=worker.pid, at=time.monotonic(), is_stopped=True)
    _wait_taken_over(bed, down)
    time.sleep(max(0.0, down.at + LEASE_S + chance.uniform(0.5, 2) - time.monotonic()))
    worker.resume()
    time.sleep(1.5)
    return [down]


def stop_engine(bed: Bed, chance: random.Random) -> list[Down]:
    """Kill the engine's process and start it again. It keeps its containers and loses its pending responses."""
    bed.engine.kill()
    time.sleep(chance.uniform(2, 4))
    bed.engine.start()
    return []


def restart_postgres(bed: Bed, chance: random.Random) -> list[Down]:
    """Restart PostgreSQL, as an upgrade or as a crash."""
    assert isinstance(bed.database, PostgresServer)
    bed.database.restart(crash=chance.random() < 0.5, down_s=chance.uniform(0, 2))
    return []


def drop_connections(bed: Bed, chance: random.Random) -> list[Down]:
    """End all connections to PostgreSQL, again and again."""
    assert isinstance(bed.database, PostgresServer)
    for _ in range(20):
        bed.database.drop_connections()
        time.sleep(chance.uniform(0, 0.2))
    return []


def fill_disk(bed: Bed, chance: random.Random) -> list[Down]:
    """Fill the disk of the database for a while."""
    assert isinstance(bed.database, SqliteDisk)
    bed.database.fill()
    time.sleep(chance.uniform(3, 5))
    bed.database.free()
    return []


FAULTS = (
    Fault(name="kill web", act=kill_web, together=False),
    Fault(name="end web", act=end_web, together=False),
    Fault(name="stop web", act=stop_web, kinds=("postgresql",), together=False),
    Fault(name="kill worker", act=kill_worker, together=False),
    Fault(name="kill server", act=kill_server, together=True),
    Fault(name="kill edge", act=kill_edge, together=True),
    Fault(name="kill child", act=kill_child, together=True),
    Fault(name="end worker", act=end_worker, together=False),
    Fault(name="stop worker", act=stop_worker, together=False),
    Fault(name="stop engine", act=stop_engine),
    Fault(name="restart postgresql", act=restart_postgres, kinds=("postgresql",), together=False),
    Fault(name="drop connections", act=drop_connections, kinds=("postgresql",), together=False),
    Fault(name="fill disk", act=fill_disk, kinds=("sqlite",)),
)


def possible(bed: Bed) -> list[Fault]:
    """List the faults that can happen on a bed."""
    return [fault for fault in FAULTS if bed.kind in fault.kinds and (bed.can_fill or fault.act is not fill_disk)]


def draw(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    """Draw faults at random without end, each once before any comes again."""
    while True:
        yield from chance.sample(faults, len(faults))


def _busy_worker(bed: Bed, chance: random.Random) -> Program:
    """Find a worker that is in the middle of a run, and let it come a little further."""
    end = time.monotonic() + _BUSY_S
    while time.monotonic() < end:
        time.sleep(chance.uniform(0, 0.3))
        busy = {entry.worker for entry in open_runs(bed.journal.read())}
        workers = [worker for worker in bed.workers if worker.worker_pid in busy]
        if workers:
            return chance.choice(workers)
        time.sleep(_LOOK_S)
    raise AssertionError(f"no worker did anything for {_BUSY_S:.0f} s while calls came in")


def _wait_taken_over(bed: Bed, down: Down) -> None:
    """Wait until the actions of the worker were taken over. The checks report it if that takes too long."""
    while time.monotonic() < down.at + TAKEOVER_S + 1:
        if all(took_s is not None for _, took_s in takeovers(bed.journal.read(), [down])):
            return
        time.sleep(_LOOK_S)
