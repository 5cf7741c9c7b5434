"""Helpers for tests of the engine `local`: a service in a folder, and independent looks at its processes."""

import itertools
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.processes import runs, zombies
from tests.support.runs import FakeRun
from tests.support.services import service_row
from tests.support.waiting import wait_until
from tutumd.engines.local.engine import LocalEngine
from tutumd.engines.local.procfs import read_environment
from tutumd.model import Autorestart, Definition, Service, ServiceSnapshot, ServiceState

STABLE_S = 0.4
PATIENT_S = 100.0
"""Takes no time where a process ends by itself, however late."""

SLEEP = "exec sleep 1000"


@dataclass(slots=True)
class LocalHost:
    """One service called `web` below a data folder. Every `engine()` stands for a restarted server."""

    data_dir: Path
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    actions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def engine(self, **seams: Any) -> LocalEngine:
        options: dict[str, Any] = {"server_cap": 10, "stable_s": STABLE_S, "grace_s": 5.0}
        return LocalEngine("local", self.data_dir, **(options | seams))

    def started(self, *arguments: Any, **options: Any) -> LocalEngine:
        """Start the service with the arguments of `service`, and return the engine."""
        engine = self.engine()
        engine.start(self.service(*arguments, **options), self.run())
        return engine

    def service(
        self,
        command: str = SLEEP,
        *,
        target: int = 2,
        envvars: Mapping[str, str] | None = None,
        working_dir: str = "",
        autorestart: Autorestart = Autorestart.OFF,
    ) -> Service:
        definition = Definition(
            command=command, envvars=envvars or {}, working_dir=working_dir, autorestart=autorestart
        )
        return service_row(
            uuid=self.uuid,
            engine="local",
            selector=self.uuid,
            state=ServiceState.NOT_RUNNING,
            target=target,
            running=0,
            image_name="free text",
            run_command=command,
            definition=definition,
        )

    def run(self, **options: Any) -> FakeRun:
        """Return a run of a new action, or of `action_uuid`."""
        return FakeRun(**({"action_uuid": f"{next(self.actions):08x}-0000-4000-8000-000000000000"} | options))

    def shown(self, engine: LocalEngine) -> ServiceSnapshot:
        (snapshot,) = engine.discover()
        return snapshot

    def names(self, engine: LocalEngine) -> list[str]:
        """Return the names of the containers that the engine shows as running."""
        return [c.name for c in self.shown(engine).containers if c.state.value == "Running"]

    def processes(self) -> dict[int, Mapping[str, str]]:
        """Return the environment, by PID, of every process of the machine that carries the service's UUID."""
        found: dict[int, Mapping[str, str]] = {}
        for process in psutil.process_iter():
            entries = (os.fsdecode(entry).partition("=") for entry in read_environment(process.pid) if entry)
            environment = {name: value for name, _, value in entries}
            if environment.get("TUTUM_SERVICE_UUID") == self.uuid and runs(process):
                found[process.pid] = environment
        return found

    def pids(self) -> set[int]:
        return set(self.processes())

    def leader(self, name: str) -> int:
        """Return the PID of the first process of a container; it must run exactly once."""
        named = [pid for pid, environment in self.processes().items() if environment["TUTUM_CONTAINER_NAME"] == name]
        (leader,) = [pid for pid in named if _is_leader(pid)]
        return leader

    def process_names(self) -> list[str]:
        """Return the names of the containers that run, sorted; one that runs twice is there twice."""
        return sorted(environment["TUTUM_CONTAINER_NAME"] for environment in self.processes().values())


def _is_leader(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    return psutil.pid_exists(pid) and runs(psutil.Process(pid))


@contextmanager
def local_host(data_dir: Path) -> Iterator[LocalHost]:
    """Yield a host. Afterwards another server terminates the service, and nothing of it may be left."""
    host = LocalHost(data_dir)
    try:
        yield host
    finally:
        outcome = host.engine(grace_s=1.0).terminate(host.service(), host.run())
        assert outcome.success, outcome
        left, unreaped = host.processes(), zombies()
        for pid in left:
            psutil.Process(pid).kill()
        # Children of this process are waited for, so that the next test does not find them.
        for pid in {*unreaped, *(pid for pid in left if psutil.Process(pid).ppid() == os.getpid())}:
            os.waitpid(pid, 0)
        assert not left, f"processes were left: {left}"
        assert not unreaped, f"ended processes were not waited for: {unreaped}"
        assert [entry.name for entry in data_dir.iterdir()] == []


def wait_for_lines(path: Path, count: int) -> list[str]:
    """Wait until a file has at least `count` lines, and return them."""

    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    return wait_until(lambda: lines() if len(lines()) >= count else [], f"{count} lines in {path.name}")
