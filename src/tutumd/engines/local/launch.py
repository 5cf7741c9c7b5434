"""From a container's record to its first process."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tutumd.engines.local.environment import build_environment
from tutumd.engines.local.folder import Folder
from tutumd.engines.local.processes import Launch, Processes, SpawnError
from tutumd.engines.local.records import ContainerRecord, ServiceRecord
from tutumd.model import Definition
from tutumd.ports import Clock


def container_name(record: ServiceRecord, container: ContainerRecord) -> str:
    """Name a container: the service and a number."""
    return f"{record.name}-{container.number}"


class Launcher:
    """Starts the process of a container that its record already knows."""

    def __init__(self, folder: Folder, processes: Processes, environment: Mapping[str, str], clock: Clock) -> None:
        self._folder = folder
        self._processes = processes
        self._environment = environment
        self._clock = clock

    def launch(
        self,
        record: ServiceRecord,
        definition: Definition,
        variables: Mapping[str, str | None],
        container: ContainerRecord,
    ) -> ContainerRecord:
        """Start the process and return the container with it, not yet saved. Raises SpawnError.

        Args:
            variables: What the redeploy sets beside those of the definition; None takes one away.
        """
        given = {**definition.envvars, **variables}
        launch = Launch(
            command=definition.command,
            environment=build_environment(
                self._environment,
                {name: value for name, value in given.items() if value is not None},
                container_id=container.id,
                container_name=container_name(record, container),
                service_uuid=record.uuid,
                service_name=record.name,
            ),
            directory=self._directory(record, definition, container),
            output=self._folder.output(record.uuid, container.slot),
        )
        process = self._processes.spawn(launch)
        return replace(container, process=process, started=self._clock(), ended=None, exit_code=None)

    def _directory(self, record: ServiceRecord, definition: Definition, container: ContainerRecord) -> Path:
        if not definition.working_dir:
            return self._folder.working_directory(record.uuid, container.number)
        directory = Path(definition.working_dir)
        if not directory.is_absolute():
            raise SpawnError(f"its working_dir must be an absolute path, got {definition.working_dir!r}")
        return directory
