"""Start of a container's first process: its environment, its working directory and its output file.

The environment is clean, so that no setting of the server, such as a password, reaches a service.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tutumd.engines.local.data_folder import DataFolder
from tutumd.engines.local.processes import CONTAINER_ID, Processes, SpawnError
from tutumd.engines.local.records import ContainerRecord, ServiceRecord
from tutumd.model import Definition
from tutumd.ports.clock import Clock

DEFAULTS = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
}


def container_name(record: ServiceRecord, container: ContainerRecord) -> str:
    """Return the name of a container: `SERVICE-NUMBER`."""
    return f"{record.name}-{container.number}"


def build_environment(
    server: Mapping[str, str],
    envvars: Mapping[str, str | None],
    record: ServiceRecord,
    container: ContainerRecord,
) -> dict[str, str]:
    """Return the environment of a process: PATH, HOME and LANG of the server, the service's variables, and ours.

    A process is found by our variables after a restart of the server, so the service cannot override them.

    Args:
        envvars: The service's variables. None removes one.
    """
    base = {name: server.get(name) or default for name, default in DEFAULTS.items()}
    ours = {
        CONTAINER_ID: container.id,
        "TUTUM_CONTAINER_NAME": container_name(record, container),
        "TUTUM_SERVICE_UUID": record.uuid,
        "TUTUM_SERVICE_NAME": record.name,
    }
    return base | {name: value for name, value in envvars.items() if value is not None} | ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """Starts the processes of containers that are already in a record.

    Attributes:
        environment: The server's environment.
    """

    folder: DataFolder
    processes: Processes
    environment: Mapping[str, str]
    clock: Clock

    def launch(
        self,
        record: ServiceRecord,
        definition: Definition,
        variables: Mapping[str, str | None],
        container: ContainerRecord,
    ) -> ContainerRecord:
        """Start the process and return the container with it, not yet saved. Raises SpawnError.

        Args:
            variables: Variables of the redeploy, which override those of the definition. None removes one.
        """
        process = self.processes.spawn(
            definition.command,
            environment=build_environment(self.environment, {**definition.envvars, **variables}, record, container),
            directory=self._directory(record, definition, container),
            output=self.folder.output(record.uuid, container.slot),
        )
        return replace(container, process=process, started=self.clock(), ended=None, exit_code=None)

    def _directory(self, record: ServiceRecord, definition: Definition, container: ContainerRecord) -> Path:
        if not definition.working_dir:
            return self.folder.working_directory(record.uuid, container.number)
        directory = Path(definition.working_dir)
        if not directory.is_absolute():
            raise SpawnError(f"its working_dir must be an absolute path, got {definition.working_dir!r}")
        return directory
