"""Engine port, implemented with processes of this machine.

A container is a process in its own session. Its image digest is the digest of the running definition.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event

import structlog

from tutumd.engines.local import plan as plans
from tutumd.engines.local import procfs
from tutumd.engines.local.change_runner import ChangeRunner, saved_before
from tutumd.engines.local.data_folder import MAX_OUTPUT_BYTES, DataFolder, read_on, size_of, tail
from tutumd.engines.local.processes import Processes
from tutumd.engines.local.records import ContainerRecord, ServiceRecord, container_name
from tutumd.engines.local.supervisor import Supervisor, will_restart
from tutumd.engines.output import read_count
from tutumd.errors import EngineRefusedError, EngineUnavailableError, InvalidInputError
from tutumd.model import (
    SINCE,
    Availability,
    ContainerSnapshot,
    ContainerState,
    Definition,
    EngineInfo,
    Finding,
    Outcome,
    Output,
    Plan,
    RunLimits,
    Service,
    ServiceSnapshot,
    WantedImage,
    ok,
    warning,
    wrong,
)
from tutumd.ports import Clock, Run

NO_ROLLBACK = "a service of the local engine is a command, which has no images: change its definition instead"


def build_snapshot(
    record: ServiceRecord, running: Collection[str], exit_codes: Mapping[str, int | None]
) -> ServiceSnapshot:
    """Return the snapshot of a service.

    Incoming containers are Starting; leaving ones are Stopping until their processes have ended. `image_digest` is the
    digest of the running definition, so that a redeploy shows whether the definition changed.

    Args:
        running: IDs of the containers whose first process runs.
        exit_codes: Exit codes of containers whose end is not yet recorded, by ID, as far as known.
    """
    snapshots = []
    for container in record.containers:
        exit_code = container.exit_code if container.ended else exit_codes.get(container.id)
        snapshots.append(
            _snapshot(
                record,
                container,
                record.definition,
                _state_of_present(record, container, container.id in running, exit_code),
                exit_code,
            )
        )
    if record.change is not None:
        snapshots += [
            _snapshot(record, c, record.change.definition, ContainerState.STARTING) for c in record.change.incoming
        ]
    snapshots += [
        _snapshot(record, c, record.definition, ContainerState.STOPPING) for c in record.leaving if c.id in running
    ]
    return ServiceSnapshot(
        selector=record.uuid,
        name=record.name,
        target=record.target,
        containers=tuple(snapshots),
        stopped=record.stopped,
        image_name=record.image_name,
        image_digest=record.digest,
        run_command=record.definition.command,
        rollback_refusal=NO_ROLLBACK,
        deployed=max((c.started for c in record.containers if c.started), default=None),
    )


def _state_of_present(
    record: ServiceRecord, container: ContainerRecord, is_running: bool, exit_code: int | None
) -> ContainerState:
    if is_running:
        return ContainerState.RUNNING
    if (container.process is None and container.ended is None) or will_restart(
        record.definition.autorestart, exit_code
    ):
        return ContainerState.STARTING
    return ContainerState.STOPPED


def _snapshot(
    record: ServiceRecord,
    container: ContainerRecord,
    definition: Definition,
    state: ContainerState,
    exit_code: int | None = None,
) -> ContainerSnapshot:
    return ContainerSnapshot(
        id=container.id,
        name=container_name(record, container),
        state=state,
        image_name=record.image_name,
        image_digest=record.digest,
        run_command=definition.command,
        exit_code=exit_code,
        started=container.started,
        stopped=container.ended,
    )


LOCK_WAIT_S = 30.0


def _refuse_image(image: WantedImage | None) -> None:
    if image is not None:
        raise EngineRefusedError(NO_ROLLBACK)


class LocalEngine:
    """Runs services as processes that outlive the server. The next server finds them again.

    `data_dir` is used by one process at a time. The selector of a service is its UUID.
    """

    def __init__(
        self,
        name: str,
        data_dir: Path,
        *,
        server_cap: int,
        stable_s: float = 1.0,
        grace_s: float = 10.0,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        environment: Mapping[str, str] | None = None,
        boot_id: str | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        limits: RunLimits = RunLimits(),
    ) -> None:
        """Read the records below `data_dir`. Nothing else is accessed.

        environment: Source of PATH, HOME and LANG of the processes; default: the environment of this process.
        boot_id: Changes with every start of the machine; default: the kernel's.
        limits: Limits of a run, from the server's settings.
        """
        self.info = EngineInfo(
            name=name,
            kind="local",
            hint="On local, an admin creates services: tutum service run --name hello -r 'sleep 600' demo.",
            can_create=True,
            is_shared=False,
        )
        self._folder = DataFolder(data_dir)
        for service, problem in self._folder.unreadable.items():
            structlog.stdlib.get_logger("tutumd.engines.local").error(
                "service left alone", service=service, why=problem
            )
        self._processes = Processes(
            self._folder, boot_id or procfs.read_boot_id(), os.environ if environment is None else environment
        )
        self._changes = ChangeRunner(
            folder=self._folder,
            processes=self._processes,
            server_cap=server_cap,
            stable_s=stable_s if limits.stable_s is None else limits.stable_s,
            grace_s=grace_s,
            clock=clock,
            limits=limits,
        )
        self._supervisor = Supervisor(
            folder=self._folder, processes=self._processes, max_output_bytes=max_output_bytes, clock=clock
        )

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """Return the services that were started at least once."""
        return tuple(self._snapshot(record) for record in self._folder.records())

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        record = self._folder.get(service.uuid)
        return None if record is None else self._snapshot(record)

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Supervise all services until `stop` is set. Calls `changed` after each round in which a record changed."""
        self._supervisor.run(changed, stop)

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        if problem := self._folder.unreadable.get(service.uuid):
            raise EngineRefusedError(problem)
        _refuse_image(image)
        return self._changes.plan(service, tag)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Start a complete new set with the current definition, wait until it is stable, then end the old set.

        A service that was never started is started.
        """
        _refuse_image(run.image)
        return self._perform(service, run, plans.plan_redeploy)

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        return {}

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Start more containers with the running definition, or end those with the highest numbers; 0 does not stop the
        service.
        """
        return self._perform(service, run, partial(plans.plan_scale, target=target))

    def start(self, service: Service, run: Run) -> Outcome:
        return self._perform(service, run, plans.plan_start)

    def stop(self, service: Service, run: Run) -> Outcome:
        return self._perform(service, run, plans.plan_stop)

    def terminate(self, service: Service, run: Run) -> Outcome:
        """End all processes of a service and remove its folder."""
        with self._hold(service, run):
            if self._folder.get(service.uuid) is None:
                outcome = Outcome(success=True, containers_before=saved_before(run)[0])
            else:
                outcome = self._changes.perform(service, run, plans.plan_stop)
                record = self._folder.get(service.uuid)
                if record is not None and record.leaving:
                    return replace(outcome, success=False)
            run.check()
            self._folder.remove(service.uuid)
            return replace(outcome, image_after=None)

    def logs(self, service: Service, lines: int, after: Mapping[str, str] | None = None) -> Output:
        """Read each container. If there are several containers, each line begins with the container's name."""
        record, after = self._folder.get(service.uuid), after or {}
        if SINCE in after:
            raise InvalidInputError("since: output of commands is stored without times; use tail")
        if record is None:
            return Output(text="", position={})
        texts: list[str] = []
        position: dict[str, str] = {}
        for container in record.containers:
            path, slot = self._folder.output(service.uuid, container.slot), container.slot
            prefix = f"{container_name(record, container)} | " if len(record.containers) > 1 else ""
            end = size_of(path)
            found, end = read_on(path, read_count(after[slot])) if slot in after else (tail(path, lines, end), end)
            texts += [prefix + line for line in found]
            position[slot] = str(end)
        return Output(text="\n".join(texts), position=position)

    def probe(self) -> None:
        """Do nothing: the engine is this machine."""

    def check(self) -> tuple[Finding, ...]:
        return tuple(check_machine(f"engine {self.info.name}", self._folder.path, self._folder.unreadable))

    def close(self) -> None:
        """Do nothing: there is no connection, and processes keep running."""

    def _perform(self, service: Service, run: Run, planner: plans.Planner) -> Outcome:
        with self._hold(service, run):
            return self._changes.perform(service, run, planner)

    @contextmanager
    def _hold(self, service: Service, run: Run) -> Iterator[None]:
        """Exclude supervision from a service. A disk fault is raised as EngineUnavailableError."""
        with self._folder.hold(service.uuid, timeout_s=LOCK_WAIT_S) as is_held:
            if not is_held:
                raise EngineUnavailableError(f"an earlier action still works on the service after {LOCK_WAIT_S:g} s")
            run.check()
            if problem := self._folder.unreadable.get(service.uuid):
                raise EngineUnavailableError(f"{problem}; restore it, or end the processes and remove its folder")
            try:
                yield
            except OSError as error:
                raise EngineUnavailableError(f"the data folder of the local engine: {error}") from error

    def _snapshot(self, record: ServiceRecord) -> ServiceSnapshot:
        running = {
            c.id for c in record.all_containers if c.process and not c.ended and self._processes.is_running(c.process)
        }
        exit_codes = {
            c.id: self._processes.exit_code(c.process)
            for c in record.containers
            if c.process is not None and c.id not in running
        }
        return build_snapshot(record, running, exit_codes)


_SHELL = Path("/bin/sh")


def check_machine(subject: str, folder: Path, unreadable: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the problems with the shell, the folder, its records and this user."""
    if not os.access(_SHELL, os.X_OK):
        yield wrong(
            subject,
            f"{_SHELL} cannot be run: no service can start",
            "install a shell, or use the engine of the containers: --engine docker",
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield wrong(subject, f"{folder} is not writable for this user", "give it to the user that tutumd runs as")
    for service, problem in unreadable.items():
        yield wrong(
            subject,
            f"the record of the service {service} cannot be used: {problem}",
            f"restore {folder / service}, or remove it to give up the service",
        )
    if os.geteuid() == 0:
        yield warning(
            subject,
            "runs commands as root: whoever has the API key of an admin controls this machine",
            "start tutumd as another user",
        )
    yield ok(subject, f"runs services as processes of this machine, in {folder}")
