"""What happens to services between actions: ends are noticed, processes restarted, output is kept small."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from threading import Event

import structlog

from tutumd.engines.local import output
from tutumd.engines.local.exit_watch import ExitWatch
from tutumd.engines.local.folder import Folder
from tutumd.engines.local.launch import Launcher
from tutumd.engines.local.locks import Locks
from tutumd.engines.local.processes import Processes, SpawnError
from tutumd.engines.local.procfs import Identity
from tutumd.engines.local.records import ContainerRecord, ServiceRecord, with_container
from tutumd.engines.local.restarts import is_due, restarts_in_a_row
from tutumd.ports import Clock

ROUND_S = 0.25
ROTATION_S = 1.0


class Supervisor:
    """Looks after all services, except those that an action works on right then."""

    def __init__(
        self,
        folder: Folder,
        processes: Processes,
        launcher: Launcher,
        locks: Locks,
        *,
        max_output_bytes: int,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._folder = folder
        self._processes = processes
        self._launcher = launcher
        self._locks = locks
        self._max_output_bytes = max_output_bytes
        self._clock = clock
        self._new_id = new_id
        self._log = structlog.stdlib.get_logger("tutumd.engines.local")

    def run(self, changed: Callable[[], None], stop: Event) -> None:
        """Supervise until `stop` is set. Calls `changed` after each round in which a record changed.

        A round follows each exit at once. It follows within `ROUND_S` when an action changed a record, a restart is
        due, or `stop` is set.
        """
        revision, next_rotation = self._folder.revision, 0.0
        with closing(ExitWatch(self._processes.is_running)) as exits:
            while not stop.is_set():
                self._look_after_all(exits)
                if time.monotonic() >= next_rotation:
                    next_rotation = time.monotonic() + ROTATION_S
                    self._rotate_outputs()
                previous, revision = revision, self._folder.revision
                if revision != previous:
                    changed()
                exits.wait(ROUND_S)

    def _look_after_all(self, exits: ExitWatch) -> None:
        """Do one round. What goes wrong with one service is logged and tried again in the next round."""
        records = self._folder.records()
        exits.watch({c.process for record in records for c in record.containers if c.process and not c.ended})
        for uuid in [record.uuid for record in records]:
            with self._locks.trying(uuid) as is_free:
                record = self._folder.get(uuid) if is_free else None
                if record is None:
                    continue
                try:
                    self._look_after(record, exits)
                except OSError as error:
                    self._log.warning("service could not be supervised", service=uuid, error=str(error))

    def _rotate_outputs(self) -> None:
        """Cut the output files that grew too large."""
        for path in self._folder.outputs():
            try:
                output.rotate(path, max_bytes=self._max_output_bytes)
            except OSError as error:
                self._log.warning("output could not be rotated", file=path.name, error=str(error))

    def _look_after(self, record: ServiceRecord, exits: ExitWatch) -> None:
        for container in (*record.incoming, *record.leaving):
            if container.process is not None:
                self._processes.reap(container.process)
        found = self._processes.leaders([c.id for c in record.containers if c.process is None and c.ended is None])
        for container in record.containers:
            if container.ended is None:
                if container.process is None:
                    record = self._restarted(record, container, found)
                elif not exits.is_running(container.process):
                    record = self._ended(record, container, container.process)
            elif is_due(container, record.definition.autorestart, self._clock()):
                record = self._replaced(record, container)

    def _ended(self, record: ServiceRecord, container: ContainerRecord, process: Identity) -> ServiceRecord:
        """Note that a container ended. It ends with its first process: what that left behind is killed."""
        self._processes.kill({container.id: process}, pause=time.sleep)
        code = self._processes.exit_code(process)
        gone = replace(container, ended=self._clock(), exit_code=code)
        record = self._folder.save(with_container(record, gone, instead_of=container.id))
        self._processes.reap(process)
        self._log.info("container ended", service=record.uuid, number=container.number, exit_code=code)
        return record

    def _replaced(self, record: ServiceRecord, container: ContainerRecord) -> ServiceRecord:
        """Put a new container in the place of one that ended: recorded first, then started."""
        new = ContainerRecord(
            id=self._new_id(),
            number=container.number,
            slot=container.slot,
            restarts=restarts_in_a_row(container) + 1,
        )
        record = self._folder.save(with_container(record, new, instead_of=container.id))
        return self._restarted(record, new, {})

    def _restarted(
        self, record: ServiceRecord, container: ContainerRecord, found: Mapping[str, Identity]
    ) -> ServiceRecord:
        """Start a recorded container, unless that was done by a server that died before it could note it."""
        if container.id in found:
            started = replace(container, process=found[container.id], started=self._clock())
        else:
            try:
                started = self._launcher.launch(record, record.definition, record.variables, container)
            except SpawnError as error:
                self._log.warning("container could not be restarted", service=record.uuid, reason=str(error))
                gone = replace(container, ended=self._clock())
                return self._folder.save(with_container(record, gone, instead_of=container.id))
        self._log.info("container restarted", service=record.uuid, number=container.number)
        return self._folder.save(with_container(record, started, instead_of=container.id))
