"""The order of the measurements, within a limit of time."""

import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import checked, load, programs, results, seed, single
from tests.bench.fake_docker import FakeDocker
from tests.bench.load import USUAL, Target
from tests.bench.programs import Program
from tests.bench.results import (
    EMPTY,
    ENDING,
    LARGE,
    LARGE_ALL,
    ONE_REPLICA,
    RIVAL,
    RUNNING,
    TWO_REPLICAS,
    Results,
)
from tests.bench.seed import Called, Size
from tests.bench.working import SERVICES, Working
from tests.support.postgres_bed import PostgresBed

_FEW = 1_000
"""Services that are called in turn, whatever the size of the database."""
_CONTAINERS = 20
"""Containers of the docker engine of each server."""
_SUFFIXES = {EMPTY: "", LARGE: "_large"}
_COMMANDS = {RUNNING: "exec sleep 86400", ENDING: "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes:
        seconds: Of one run of the load generator.
        work_seconds: Of one window of calls, or of none, while services are redeployed.
        loaded_seconds: Of full call load, while one more caller measures its waits.
        calls: Made of a new server in all, before memory is read once more.
        limit_s: From when on no more rounds and calls are begun, though fewer were made than wanted.
    """

    rounds: int
    seconds: int
    work_seconds: int
    work_services: int
    loaded_seconds: int
    idle_calls: int
    large: Size
    calls: int
    limit_s: float


FULL = Plan(
    rounds=3,
    seconds=3,
    work_seconds=6,
    work_services=SERVICES,
    loaded_seconds=30,
    idle_calls=50,
    large=Size(services=10_000, handlers=100_000, deliveries=1_000_000),
    calls=1_000_000,
    limit_s=1500,
)
QUICK = Plan(
    rounds=1,
    seconds=2,
    work_seconds=3,
    work_services=30,
    loaded_seconds=5,
    idle_calls=15,
    large=Size(services=10_000, handlers=100_000, deliveries=200_000),
    calls=60_000,
    limit_s=180,
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
        hook = self._folder / "hook"
        hook.write_text(f"{programs.RIVAL_PATH}\n")
        rival = programs.start_rival(self._stack, self._folder)
        hooked = Target(name=RIVAL, ports=(rival.port,), paths=(hook,))
        with ExitStack() as stack:
            ours, called = self._start_ours(EMPTY, Size(services=_FEW, handlers=_FEW, deliveries=0), stack)
            large, called_large = self._start_ours(LARGE, self._plan.large, stack)
            few = self._paths(LARGE, called_large[:: max(1, len(called_large) // _FEW)])
            others = [
                Target(
                    name=name,
                    ports=(ours.port,),
                    paths=tuple(self._write(f"{name} {number}", lines) for number, lines in enumerate(files)),
                    connections=(USUAL,),
                )
                for name, files in checked.make_calls(ours, called, runs=self._plan.rounds + 1)
            ]
            checked.store_keys(self._folder / EMPTY / "tutumd.db")
            self._rounds(
                [
                    (hooked, [rival]),
                    *((target, [ours]) for target in others[:2]),
                    (Target(name=EMPTY, ports=(ours.port,), paths=(self._paths(EMPTY, called),)), [ours]),
                    *((target, [ours]) for target in others[2:]),
                    (Target(name=LARGE, ports=(large.port,), paths=(few,)), [large]),
                    (
                        Target(name=LARGE_ALL, ports=(large.port,), paths=(self._paths(LARGE_ALL, called_large),)),
                        [large],
                    ),
                ]
            )
            for name, server, some in ((EMPTY, ours, called), (LARGE, large, called_large)):
                self.results.handlers[name] = single.measure_handlers(server, some, self._plan.idle_calls)
        with ExitStack() as stack:
            self._call_often(stack)
        with ExitStack() as stack:
            _say("POST to engine")
            self.results.idle = single.measure_idle(stack, self._folder, self._plan.idle_calls)
        with ExitStack() as stack:
            _say("POST to engine at full call load")
            self.results.loaded = single.measure_loaded(
                stack, self._folder / "loaded", containers=_CONTAINERS, seconds=self._plan.loaded_seconds
            )
        with ExitStack() as stack:
            self._measure_postgres(stack)
        self._measure_work(hooked)
        return self.results

    def _measure_work(self, rival: Target) -> None:
        with ExitStack() as stack:
            scenes = [
                (name, Working(stack, self._folder / f"work {number}", command, self._plan.work_services))
                for number, (name, command) in enumerate(_COMMANDS.items())
            ]
            for number in range(self._plan.rounds):
                for name, scene in scenes:
                    found = scene.measure(rival, self._plan.work_seconds)
                    self.results.work.setdefault(name, []).append(found)
                    _say(f"round {number + 1}: {name}: {found}")

    def _start_ours(self, name: str, size: Size, stack: ExitStack) -> tuple[Program, list[Called]]:
        _say(f"{name}: {size}")
        folder = self._folder / name
        folder.mkdir()
        database = f"sqlite:///{folder / 'tutumd.db'}"
        called = seed.fill(database, size)
        engine = FakeDocker(folder / "docker.sock", containers=_CONTAINERS)
        stack.callback(engine.close)
        options = ("--engine", f"docker:{engine.url}", "--oidc-issuer", f"github={checked.ISSUER}")
        server = programs.start_tutumd(stack, folder, database, *options)
        server.settle()
        if name in _SUFFIXES:
            self.results.process[f"ready{_SUFFIXES[name]}_s"] = server.ready_s
            self.results.process[f"memory_idle{_SUFFIXES[name]}_mb"] = server.memory_mb
        return server, called

    def _paths(self, name: str, called: list[Called]) -> Path:
        return self._write(name, [one.path for one in called])

    def _write(self, name: str, lines: Sequence[str]) -> Path:
        path = self._folder / f"calls {name}"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def _rounds(self, subjects: list[tuple[Target, list[Program]]]) -> None:
        """Measure all in turn, several times, so that other load on the machine affects each alike."""
        for target, _ in subjects:
            load.call(target, connections=8, seconds=1, run=-1)
        for number in range(self._plan.rounds):
            if number and time.monotonic() > self._end:
                break
            for connections in load.CONNECTIONS:
                for target, measured in subjects:
                    if connections < len(target.ports) or connections not in target.connections:
                        continue
                    found = load.call(target, connections=connections, seconds=self._plan.seconds, run=number)
                    self.results.add(target.name, connections, found)
                    _say(f"round {number + 1}: {target.name}, {connections}: {found.calls_per_s:,.0f}/s")
                    for program in measured:
                        program.settle()

    def _measure_postgres(self, stack: ExitStack) -> None:
        bed = PostgresBed(durable=True)
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
                (Target(name=ONE_REPLICA, ports=ports[:1], paths=(paths,)), replicas[:1]),
                (Target(name=TWO_REPLICAS, ports=ports, paths=(paths,)), replicas),
            ]
        )

    def _call_often(self, stack: ExitStack) -> None:
        """Call the handlers of a new server, and compare the first calls with the last ones."""
        server, called = self._start_ours("new", Size(services=_FEW, handlers=_FEW, deliveries=0), stack)
        target = Target(name="", ports=(server.port,), paths=(self._paths("new", called),))
        made: list[load.Load] = []
        while sum(one.requests for one in made) < self._plan.calls and time.monotonic() < self._end:
            made.append(load.call(target, connections=USUAL, seconds=2))
            _say(f"{sum(one.requests for one in made):,} calls: {made[-1].calls_per_s:,.0f}/s")
        server.settle()
        calls = sum(one.requests for one in made)
        flat = results.flatness(made)
        self.results.process |= {"calls_made": calls, "flatness": flat, "memory_after_mb": server.memory_mb}


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
