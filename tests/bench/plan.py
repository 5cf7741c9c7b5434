"""The order of the measurements, within a limit of time."""

import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import load, programs, seed, single
from tests.bench.load import Target
from tests.bench.programs import Program
from tests.bench.results import BARE, CONNECTIONS, EMPTY, LARGE, LARGE_ALL, ONE_REPLICA, RIVAL, TWO_REPLICAS, Results
from tests.bench.seed import Called, Size
from tests.support.postgres_bed import PostgresBed

_FEW = 1_000
"""Services that are called in turn, whatever the size of the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes:
        seconds: Of one run of the load generator.
        calls: Made in all before memory is read once more.
        limit_s: From when on no more rounds and calls are begun, though fewer were made than wanted.
    """

    rounds: int
    seconds: int
    idle_calls: int
    large: Size
    calls: int
    limit_s: float


FULL = Plan(
    rounds=3,
    seconds=3,
    idle_calls=50,
    large=Size(services=10_000, handlers=100_000, deliveries=1_000_000),
    calls=1_000_000,
    limit_s=540,
)
QUICK = Plan(
    rounds=1,
    seconds=2,
    idle_calls=15,
    large=Size(services=10_000, handlers=100_000, deliveries=200_000),
    calls=30_000,
    limit_s=110,
)


class Run:
    """One run: the programs that are measured in turn, and the results."""

    def __init__(self, plan: Plan, stack: ExitStack) -> None:
        self._plan = plan
        self._stack = stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutumd-bench-")))
        self._end = time.monotonic() + plan.limit_s
        self.results = Results(machine=_machine(plan, self._folder))

    def measure(self) -> Results:
        """Measure everything."""
        ours, called = self._start_ours(EMPTY, Size(services=_FEW, handlers=_FEW, deliveries=0))
        with ExitStack() as stack:
            large, called_large = self._start_ours(LARGE, self._plan.large, stack)
            few = self._paths(LARGE, called_large[:: max(1, len(called_large) // _FEW)])
            hook = self._folder / "hook"
            hook.write_text(f"{programs.RIVAL_PATH}\n")
            rival, bare = programs.start_rival(stack, self._folder), programs.start_bare(stack, self._folder)
            self._rounds(
                [
                    (Target(name=RIVAL, ports=(rival.port,), paths=hook), [rival]),
                    (Target(name=BARE, ports=(bare.port,), paths=hook), [bare]),
                    (Target(name=EMPTY, ports=(ours.port,), paths=self._paths(EMPTY, called)), [ours]),
                    (Target(name=LARGE, ports=(large.port,), paths=few), [large]),
                    (Target(name=LARGE_ALL, ports=(large.port,), paths=self._paths(LARGE_ALL, called_large)), [large]),
                ]
            )
            for name, server, some in ((EMPTY, ours, called), (LARGE, large, called_large)):
                self.results.handlers[name] = single.measure_handlers(server, some, self._plan.idle_calls)
        with ExitStack() as stack:
            _say("POST to engine")
            self.results.idle = single.measure_idle(stack, self._folder, self._plan.idle_calls)
        with ExitStack() as stack:
            self._measure_postgres(stack)
        self._call_often(ours, Target(name=EMPTY, ports=(ours.port,), paths=self._paths(EMPTY, called)))
        return self.results

    def _start_ours(self, name: str, size: Size, stack: ExitStack | None = None) -> tuple[Program, list[Called]]:
        _say(f"{name}: {size}")
        folder = self._folder / name
        folder.mkdir()
        database = f"sqlite:///{folder / 'tutumd.db'}"
        called = seed.fill(database, size)
        server = programs.start_tutumd(stack or self._stack, folder, database, "--engine", "local")
        server.settle()
        suffix = "" if name == EMPTY else "_large"
        self.results.process[f"ready{suffix}_s"] = server.ready_s
        self.results.process[f"memory_idle{suffix}_mb"] = server.memory_mb
        return server, called

    def _paths(self, name: str, called: list[Called]) -> Path:
        path = self._folder / f"paths {name}"
        path.write_text("".join(f"{one.path}\n" for one in called))
        return path

    def _rounds(self, subjects: list[tuple[Target, list[Program]]]) -> None:
        """Measure all in turn, several times, so that other load on the machine affects each alike."""
        for target, _ in subjects:
            load.call(target, connections=8, seconds=1)
        for number in range(self._plan.rounds):
            if number and time.monotonic() > self._end:
                break
            for connections in CONNECTIONS:
                for target, measured in subjects:
                    if connections < len(target.ports):
                        continue
                    found = load.call(target, connections=connections, seconds=self._plan.seconds)
                    self.results.add(target.name, connections, found)
                    _say(f"round {number + 1}: {target.name}, {connections}: {found.calls_per_s:,.0f}/s")
                    for program in measured:
                        program.settle()

    def _measure_postgres(self, stack: ExitStack) -> None:
        bed = PostgresBed()
        stack.callback(bed.stop)
        bed.start()
        database = bed.new_database()
        paths = self._paths("postgres", seed.fill(database, Size(services=_FEW, handlers=_FEW, deliveries=0)))
        replicas = []
        for number in (1, 2):
            folder = self._folder / f"replica {number}"
            folder.mkdir()
            replicas.append(programs.start_tutumd(stack, folder, database, how="web"))
        ports = tuple(replica.port for replica in replicas)
        self._rounds(
            [
                (Target(name=ONE_REPLICA, ports=ports[:1], paths=paths), replicas[:1]),
                (Target(name=TWO_REPLICAS, ports=ports, paths=paths), replicas),
            ]
        )

    def _call_often(self, server: Program, target: Target) -> None:
        made = sum(one.requests for found in self.results.loads[EMPTY].values() for one in found)
        while made < self._plan.calls and time.monotonic() < self._end:
            made += load.call(target, connections=256, seconds=5).requests
            _say(f"{made:,} calls")
        server.settle()
        self.results.process |= {"calls_made": made, "memory_after_mb": server.memory_mb}


def _machine(plan: Plan, folder: Path) -> dict[str, object]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpus": os.cpu_count(),
        "python": f"Python {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "fdatasync_p50_ms": _fdatasync_ms(folder / "probe"),
        "load_before": os.getloadavg()[0],
        "rounds": plan.rounds,
        "seconds": plan.seconds,
    }


def _fdatasync_ms(path: Path) -> float:
    millis = []
    with path.open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            millis.append((time.perf_counter() - began) * 1e3)
    return statistics.median(millis)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
