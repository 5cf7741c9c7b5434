"""What the tests of the engine `local` share: one service in a folder, its engine, and an independent look at /proc."""

import itertools
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.local import LocalEngine
from tutumd.model import Autorestart, Definition, Service, ServiceSnapshot, ServiceState

STABLE_S = 0.15
SLEEP = "exec sleep 1000"


@dataclass(slots=True)
class LocalHost:
    """One service called `web` below a data folder. Every `engine()` is a server that was started anew."""

    data_dir: Path
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    actions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def engine(self, **seams: Any) -> LocalEngine:
        options: dict[str, Any] = {"server_cap": 10, "stable_s": STABLE_S, "grace_s": 5.0}
        return LocalEngine("local", self.data_dir, **(options | seams))

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
        return Service(
            uuid=self.uuid,
            engine="local",
            engine_kind="local",
            selector=self.uuid,
            name="web",
            stack="",
            owner="admin",
            bound=True,
            state=ServiceState.NOT_RUNNING,
            target=target,
            running=0,
            stopped=0,
            image_name="free text",
            image_digest=None,
            run_command=command,
            definition=definition,
            deployed=None,
            created=datetime.now(UTC),
            warnings=(),
            containers=(),
        )

    def run(self, **options: Any) -> FakeRun:
        """A new action, unless `action_uuid` says which."""
        return FakeRun(**({"action_uuid": f"{next(self.actions):08x}-0000-4000-8000-000000000000"} | options))

    def shown(self, engine: LocalEngine) -> ServiceSnapshot:
        (snapshot,) = engine.discover()
        assert engine.inspect(self.service()) == snapshot
        return snapshot

    def names(self, engine: LocalEngine) -> list[str]:
        """Names of the containers that the engine shows as running."""
        return [c.name for c in self.shown(engine).containers if c.state.value == "Running"]

    def processes(self) -> dict[int, Mapping[str, str]]:
        """Everything alive on this machine that carries the service's mark: environment by PID."""
        found: dict[int, Mapping[str, str]] = {}
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                if process.status() != psutil.STATUS_ZOMBIE and environment.get("TUTUM_SERVICE_UUID") == self.uuid:
                    found[process.pid] = environment
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def pids(self) -> set[int]:
        return set(self.processes())

    def process_names(self) -> list[str]:
        """Names of the containers that really run, sorted; a name that runs twice is there twice."""
        return sorted(environment["TUTUM_CONTAINER_NAME"] for environment in self.processes().values())


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to notice its end does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def zombies() -> list[int]:
    """Children of this process that ended and were not waited for."""
    return [child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


@contextmanager
def local_host(data_dir: Path) -> Iterator[LocalHost]:
    """A host for one test: afterwards a new server terminates the service, and nothing may be left of it."""
    host = LocalHost(data_dir)
    try:
        yield host
    finally:
        outcome = host.engine(grace_s=1.0).terminate(host.service(), host.run())
        assert outcome.success, outcome
        left = host.processes()
        for pid in left:
            psutil.Process(pid).kill()
        assert not left, f"processes were left: {left}"
        assert [entry.name for entry in data_dir.iterdir()] == []
        assert zombies() == []


@contextmanager
def watching(engine: LocalEngine) -> Iterator[threading.Event]:
    """Supervise for a while; the event is set whenever the engine says that something changed."""
    changed, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=engine.watch, args=(changed.set, stop), name="watch of a test")
    thread.start()
    try:
        yield changed
    finally:
        stop.set()
        thread.join(timeout=20)
        assert not thread.is_alive()


def wait_for_lines(path: Path, count: int) -> list[str]:
    """Wait until a file has at least `count` lines, and read them."""

    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    return wait_until(lambda: lines() if len(lines()) >= count else [], f"{count} lines in {path.name}")
