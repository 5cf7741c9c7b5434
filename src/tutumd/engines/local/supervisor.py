"""Supervision of services between actions: records exits, restarts processes and limits the size of output files."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Event

import structlog

from tutumd.engines.local.data_folder import DataFolder, rotate
from tutumd.engines.local.processes import Processes, SpawnError
from tutumd.engines.local.procfs import Identity
from tutumd.engines.local.records import ContainerRecord, ServiceRecord, replace_container
from tutumd.model import Autorestart
from tutumd.ports import Clock

ROUND_S = 0.25
ROTATION_S = 1.0
FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(seconds=60)
LONG_RUN = timedelta(seconds=60)
"""A process that ran this long is not in a crash loop: its next delay is `FIRST_DELAY` again."""

_log = structlog.stdlib.get_logger("tutumd.engines.local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Supervises all services except services with an action in progress."""

    folder: DataFolder
    processes: Processes
    max_output_bytes: int
    clock: Clock

    def run(self, changed: Callable[[], None], stop: Event) -> None:
        """Supervise until `stop` is set. Calls `changed` after each round in which a record changed.

        A round begins every `ROUND_S`.
        """
        next_rotation = 0.0
        records = self.folder.records()
        while not stop.is_set():
            self._supervise_all()
            if time.monotonic() >= next_rotation:
                next_rotation = time.monotonic() + ROTATION_S
                self._rotate_outputs()
            previous, records = records, self.folder.records()
            if records != previous:
                changed()
            stop.wait(ROUND_S)

    def _supervise_all(self) -> None:
        """Do one round. A problem with one service is logged, and retried in the next round."""
        for service_uuid in [record.uuid for record in self.folder.records()]:
            with self.folder.hold(service_uuid, timeout_s=0) as is_held:
                record = self.folder.get(service_uuid) if is_held else None
                if record is None:
                    continue
                try:
                    self._supervise(record)
                except OSError as error:
                    _log.warning("service could not be supervised", service=service_uuid, error=str(error))

    def _rotate_outputs(self) -> None:
        for path in self.folder.outputs():
            try:
                rotate(path, max_bytes=self.max_output_bytes)
            except OSError as error:
                _log.warning("output could not be rotated", file=str(path), error=str(error))

    def _supervise(self, record: ServiceRecord) -> None:
        for container in (*record.incoming, *record.leaving):
            if container.process is not None:
                self.processes.reap(container.process)
        leaders = self.processes.find_leaders([c.id for c in record.containers if not c.process and not c.ended])
        for container in record.containers:
            if container.ended is None:
                if container.process is None:
                    record = self._start(record, container, leaders)
                elif not self.processes.is_running(container.process):
                    record = self._record_exit(record, container, container.process)
            elif is_due(container, record.definition.autorestart, self.clock()):
                record = self._restart(record, container)

    def _record_exit(self, record: ServiceRecord, container: ContainerRecord, process: Identity) -> ServiceRecord:
        """Record that a container ended. The container ends with its first process: remaining processes are killed."""
        self.processes.kill({container.id: process}, pause=time.sleep)
        exit_code = self.processes.exit_code(process)
        record = self.folder.save(
            replace_container(record, replace(container, ended=self.clock(), exit_code=exit_code))
        )
        self.processes.reap(process)
        _log.info("container ended", service=record.uuid, number=container.number, exit_code=exit_code)
        return record

    def _restart(self, record: ServiceRecord, container: ContainerRecord) -> ServiceRecord:
        """Replace an ended container by a new container, which is recorded first and then started."""
        new = ContainerRecord(
            id=str(uuid.uuid4()),
            number=container.number,
            slot=container.slot,
            restarts=restarts_in_a_row(container) + 1,
        )
        return self._start(self.folder.save(replace_container(record, new, old_id=container.id)), new, {})

    def _start(
        self, record: ServiceRecord, container: ContainerRecord, leaders: Mapping[str, Identity]
    ) -> ServiceRecord:
        """Start a recorded container, unless an earlier server started it and died before recording that."""
        try:
            process = leaders.get(container.id) or self.processes.launch(
                record, record.definition, record.variables, container
            )
        except SpawnError as error:
            _log.warning("container could not be restarted", service=record.uuid, reason=str(error))
            return self.folder.save(replace_container(record, replace(container, ended=self.clock())))
        _log.info("container restarted", service=record.uuid, number=container.number)
        return self.folder.save(replace_container(record, replace(container, process=process, started=self.clock())))


def will_restart(autorestart: Autorestart, exit_code: int | None) -> bool:
    """Return whether the process must be started again. An unknown exit code counts as a failure."""
    return autorestart is Autorestart.ALWAYS or (autorestart is Autorestart.ON_FAILURE and exit_code != 0)


def restart_delay(restarts: int) -> timedelta:
    """Return the delay after `restarts` restarts in a row: 1 s, 2 s, 4 s, …, 60 s."""
    return min(LONGEST_DELAY, FIRST_DELAY * (1 << min(restarts, 10)))


def restarts_in_a_row(container: ContainerRecord) -> int:
    """Return the number of restarts that determines the delay: 0 after a long run."""
    if container.started and container.ended and container.ended - container.started >= LONG_RUN:
        return 0
    return container.restarts


def is_due(container: ContainerRecord, autorestart: Autorestart, now: datetime) -> bool:
    """Return whether an ended container must be replaced now."""
    if container.ended is None or not will_restart(autorestart, container.exit_code):
        return False
    waited = now - container.ended
    return waited >= restart_delay(restarts_in_a_row(container)) or waited < timedelta(0)  # the clock was set back
