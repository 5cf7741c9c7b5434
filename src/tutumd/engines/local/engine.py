"""The contract of an engine, fulfilled with processes of this machine.

A container is a process in a session of its own. Its image digest is the digest of the definition that it runs.
"""

import os
import time
import uuid as uuids
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import structlog

from tutumd.engines.local import output, plans, procfs
from tutumd.engines.local.changes import Changes, Limits, recalled_before
from tutumd.engines.local.folder import Folder
from tutumd.engines.local.launch import Launcher, container_name
from tutumd.engines.local.locks import Locks
from tutumd.engines.local.plans import Planner, Situation
from tutumd.engines.local.processes import Processes
from tutumd.engines.local.records import Change, ServiceRecord
from tutumd.engines.local.snapshots import Sight, build_snapshot
from tutumd.engines.local.supervise import Supervisor
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import EngineInfo, Outcome, Plan, Service, ServiceSnapshot
from tutumd.ports import Clock, Run

ROUND_S = 0.25
LOCK_WAIT_S = 30.0


class LocalEngine:
    """Runs services as processes that outlive this one and are found again by it.

    `data_dir` is a folder of its own that only one process uses at a time. The selector of a service is its UUID.
    """

    def __init__(
        self,
        name: str,
        data_dir: Path,
        *,
        server_cap: int,
        stable_s: float = 1.0,
        grace_s: float = 10.0,
        max_output_bytes: int = output.MAX_BYTES,
        environment: Mapping[str, str] | None = None,
        boot_id: str | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: str(uuids.uuid4()),
    ) -> None:
        """Read the records below `data_dir`, and touch nothing else.

        environment: Where PATH, HOME and LANG of the processes come from; default: this process's.
        boot_id: Changes whenever the machine starts; default: the kernel's.
        """
        self._name = name
        self._max_output_bytes = max_output_bytes
        self._folder = Folder(data_dir)
        for service, problem in self._folder.unreadable.items():
            structlog.stdlib.get_logger("tutumd.engines.local").error(
                "service left alone", service=service, why=problem
            )
        self._locks = Locks()
        self._processes = Processes(boot_id or procfs.read_boot_id(), monotonic=monotonic)
        launcher = Launcher(self._folder, self._processes, os.environ if environment is None else environment, clock)
        limits = Limits(server_cap=server_cap, stable_s=stable_s, grace_s=grace_s)
        self._changes = Changes(
            self._folder, self._processes, launcher, limits, clock=clock, monotonic=monotonic, new_id=new_id
        )
        self._supervisor = Supervisor(self._folder, self._processes, launcher, self._locks, clock=clock, new_id=new_id)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(name=self._name, kind="local", can_create=True)

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """List the services that were started at least once."""
        return tuple(self._show(record) for record in self._folder.records())

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        record = self._folder.get(service.uuid)
        return None if record is None else self._show(record)

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Supervise all services, and call `changed` after each round in which a record changed."""
        seen = self._folder.revision
        while not stop.is_set():
            self._supervisor.look_after_all()
            self._supervisor.rotate_outputs(self._max_output_bytes)
            if seen != (now := self._folder.revision):
                seen = now
                changed()
            stop.wait(ROUND_S)

    def plan(self, service: Service, tag: str | None) -> Plan:
        if problem := self._folder.unreadable.get(service.uuid):
            return Plan(refused=problem, image_name=service.image_name)
        try:
            return self._changes.tell(service, tag)
        except EngineRefusedError as error:
            return Plan(refused=str(error), image_name=service.image_name)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Start a full new set with the current definition, wait until it is stable, then end the old one.

        A service that was never started is started.
        """
        return self._carry_out(service, run, plans.plan_redeploy)

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Start more like the running ones, or end those with the highest numbers; 0 does not stop the service."""

        def plan(situation: Situation) -> Change:
            return plans.plan_scale(situation, target)

        return self._carry_out(service, run, plan)

    def start(self, service: Service, run: Run) -> Outcome:
        return self._carry_out(service, run, plans.plan_start)

    def stop(self, service: Service, run: Run) -> Outcome:
        return self._carry_out(service, run, plans.plan_stop)

    def terminate(self, service: Service, run: Run) -> Outcome:
        """End all processes of a service and remove its folder."""
        with self._working_on(service, run):
            if self._folder.get(service.uuid) is None:
                outcome = Outcome(success=True, containers_before=recalled_before(run)[0])
            else:
                outcome = self._changes.carry_out(service, run, plans.plan_stop)
                record = self._folder.get(service.uuid)
                if record is not None and record.leaving:
                    return replace(outcome, success=False)
            run.check()
            self._folder.remove(service.uuid)
            return replace(outcome, image_after=None)

    def logs(self, service: Service, lines: int) -> str:
        """Read the last `lines` lines of each container; of several, each line begins with the container's name."""
        record = self._folder.get(service.uuid)
        containers = record.containers if record is not None else ()
        found: list[str] = []
        for container in containers:
            name = container_name(record, container) if record is not None else ""
            mark = f"{name} | " if len(containers) > 1 else ""
            path = self._folder.output(service.uuid, container.slot)
            found += [mark + line for line in output.tail(path, lines)]
        return "\n".join(found)

    def close(self) -> None:
        """Do nothing: there is no connection, and processes keep running."""

    def _carry_out(self, service: Service, run: Run, plan: Planner) -> Outcome:
        with self._working_on(service, run):
            return self._changes.carry_out(service, run, plan)

    @contextmanager
    def _working_on(self, service: Service, run: Run) -> Iterator[None]:
        """Keep supervision away, and turn trouble with the disk into "try again later"."""
        with self._locks.holding(service.uuid, timeout_s=LOCK_WAIT_S):
            run.check()
            if problem := self._folder.unreadable.get(service.uuid):
                raise EngineUnavailableError(f"{problem}; restore it, or end the processes and remove its folder")
            try:
                yield
            except OSError as error:
                raise EngineUnavailableError(f"the data folder of the local engine: {error}") from error

    def _show(self, record: ServiceRecord) -> ServiceSnapshot:
        sights: dict[str, Sight] = {}
        for container in (*record.containers, *record.incoming, *record.leaving):
            process = container.process
            is_running = process is not None and container.ended is None and self._processes.is_running(process)
            code = self._processes.exit_code(process) if process is not None and not is_running else None
            sights[container.id] = Sight(is_running=is_running, exit_code=code)
        return build_snapshot(record, sights)
