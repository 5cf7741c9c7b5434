"""Processes of containers: start, find, signal and end them, and never affect a process of anybody else.

A container is a process in its own session, with all processes that it started. Members of a container are found by
their session, and by the environment variable TUTUM_CONTAINER_ID, which a process keeps when it leaves the session.
Signals go through a pidfd whose identity was checked, so that a reused PID is never hit.
"""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from tutumd.engines.local import procfs
from tutumd.engines.local.data_folder import DataFolder
from tutumd.engines.local.procfs import Identity, Stat
from tutumd.engines.local.records import ContainerRecord, ServiceRecord, container_name
from tutumd.model import Definition

CONTAINER_ID = "TUTUM_CONTAINER_ID"
DEFAULT_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
}
POLL_S = 0.01
WAIT_S = 0.1  # so that the caller soon notices that its action was canceled
KILL_LIMIT_S = 5.0  # a process in an uninterruptible wait takes longer
Leaders = Mapping[str, Identity | None]  # first processes by container ID; None: unknown whether any was started


class SpawnError(Exception):
    """A process could not be started. The text gives the reason."""


class Processes:
    """The processes of containers on this machine. Safe to use from several threads."""

    def __init__(self, folder: DataFolder, boot_id: str, environment: Mapping[str, str]) -> None:
        """Create the instance with the environment of the server, from which processes get some variables."""
        self._folder, self._boot_id, self._environment = folder, boot_id, environment
        self._reaping = threading.Lock()

    def launch(
        self,
        record: ServiceRecord,
        definition: Definition,
        variables: Mapping[str, str | None],
        container: ContainerRecord,
    ) -> Identity:
        """Start the first process of a recorded container. It outlives this process. Raises SpawnError.

        Args:
            variables: Variables of the redeploy, which override the variables of the definition. None removes a
                variable.
        """
        output = self._folder.output(record.uuid, container.slot)
        directory = Path(definition.working_dir or self._folder.working_directory(record.uuid, container.number))
        if not directory.is_absolute():
            raise SpawnError(f"its working_dir must be an absolute path, got {definition.working_dir!r}")
        environment = build_environment(self._environment, {**definition.envvars, **variables}, record, container)
        try:
            with open(output, "ab", opener=partial(os.open, mode=0o600)) as output_file:
                child = subprocess.Popen(
                    ["/bin/sh", "-c", definition.command],
                    stdin=subprocess.DEVNULL,
                    stdout=output_file,
                    stderr=output_file,
                    cwd=directory,
                    env=environment,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            raise SpawnError(_describe(error, directory, output)) from error
        child.returncode = 0  # `reap` waits for the child; Popen must neither wait nor warn
        stat = procfs.read_stat(child.pid)
        return Identity(pid=child.pid, start_ticks=stat.start_ticks if stat else 0, boot_id=self._boot_id)

    def is_running(self, identity: Identity) -> bool:
        """Return whether exactly this process is alive."""
        stat = self._read(identity)
        return stat is not None and stat.is_alive

    def wait_exit(self, identities: Iterable[Identity], seconds: float) -> None:
        """Wait until one of these processes has ended, for at most `seconds` and `WAIT_S`."""
        poll = select.poll()
        with ExitStack() as stack, suppress(ProcessLookupError):
            for identity in identities:
                pidfd = os.pidfd_open(identity.pid)
                stack.callback(os.close, pidfd)
                poll.register(pidfd, select.POLLIN)
            poll.poll(1000 * min(seconds, WAIT_S))

    def is_of_this_boot(self, identity: Identity) -> bool:
        """Return whether the process was started after the last start of the machine."""
        return identity.boot_id == self._boot_id

    def exit_code(self, identity: Identity) -> int | None:
        """Return the exit code of a process that is not yet reaped, 128 + N after signal N.

        None if it runs, or if the code cannot be known because this process is not the parent.
        """
        with self._reaping, suppress(ChildProcessError):
            if self._is_zombie_child(identity):
                result = os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if result is not None:
                    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status
        return None

    def reap(self, identity: Identity) -> None:
        """Wait for a zombie. Until then, no other process or session can get its PID."""
        with self._reaping, suppress(ChildProcessError):
            if self._is_zombie_child(identity):
                os.waitpid(identity.pid, os.WNOHANG)

    def find_leaders(self, container_ids: Iterable[str]) -> dict[str, Identity]:
        """Return the first processes of containers that a server started and could not record before it died."""
        entries = {_environment_entry(container_id): container_id for container_id in container_ids}
        leaders: dict[str, Identity] = {}
        for stat in procfs.live_processes() if entries else ():
            if stat.pid == stat.session:
                for entry in entries.keys() & procfs.read_environment(stat.pid):
                    leaders[entries[entry]] = self._identity(stat)
        return leaders

    def end(self, leaders: Leaders, *, grace_s: float, pause: Callable[[float], None]) -> tuple[int, ...]:
        """End containers: SIGTERM to all members, and SIGKILL to those that remain after `grace_s`.

        Returns the PIDs of members that survived even SIGKILL; normally none.
        """
        for stat in self._members(leaders):
            _send(stat, signal.SIGTERM)
            _send(stat, signal.SIGCONT)  # a stopped process receives SIGTERM only after it is continued
        deadline = time.monotonic() + grace_s
        while (left := self._members(leaders)) and time.monotonic() < deadline:
            for member in map(self._identity, left):
                while self.is_running(member) and (left_s := deadline - time.monotonic()) > 0:
                    self.wait_exit([member], left_s)
                    pause(0)
        if left:
            left = self.kill(leaders, pause=pause)
        for leader in leaders.values():
            if leader is not None:
                self.reap(leader)
        return tuple(stat.pid for stat in left)

    def kill(self, leaders: Leaders, *, pause: Callable[[float], None]) -> tuple[Stat, ...]:
        """Send SIGKILL until no member lives, for at most `KILL_LIMIT_S`. Returns the members that still live."""
        deadline = time.monotonic() + KILL_LIMIT_S
        while left := self._members(leaders):
            for stat in left:
                _send(stat, signal.SIGKILL)
            if time.monotonic() > deadline:
                break
            pause(POLL_S)
        return left

    def _members(self, leaders: Leaders) -> tuple[Stat, ...]:
        entries = {_environment_entry(container_id) for container_id in leaders}
        sessions = {leader.pid for leader in leaders.values() if leader is not None and self._read(leader)}
        # No member is older than its leader, or in the session of another container. These checks save reading the
        # environment of most processes.
        oldest = min((0 if leader is None else leader.start_ticks for leader in leaders.values()), default=0)
        stats = tuple(procfs.live_processes())
        other_leaders = {
            container.process
            for record in self._folder.records()
            for container in record.all_containers
            if container.id not in leaders
        }
        other_sessions = {stat.pid for stat in stats if self._identity(stat) in other_leaders}
        return tuple(
            stat
            for stat in stats
            if stat.start_ticks >= oldest
            and stat.pid != os.getpid()
            and stat.session not in other_sessions
            and (stat.session in sessions or not entries.isdisjoint(procfs.read_environment(stat.pid)))
        )

    def _identity(self, stat: Stat) -> Identity:
        return Identity(pid=stat.pid, start_ticks=stat.start_ticks, boot_id=self._boot_id)

    def _read(self, identity: Identity) -> Stat | None:
        """Return the process, also as a zombie; None if it is gone, even if its PID is in use again."""
        stat = procfs.read_stat(identity.pid) if self.is_of_this_boot(identity) else None
        return stat if stat is not None and stat.start_ticks == identity.start_ticks else None

    def _is_zombie_child(self, identity: Identity) -> bool:
        stat = self._read(identity)
        return stat is not None and not stat.is_alive and stat.parent == os.getpid()


def build_environment(
    server: Mapping[str, str],
    variables: Mapping[str, str | None],
    record: ServiceRecord,
    container: ContainerRecord,
) -> dict[str, str]:
    """Return the environment of a process: PATH, HOME and LANG of the server, the service's variables, and tutumd's.

    The environment is clean, so that no setting of the server, such as a password, reaches a service. After a restart,
    the server finds a process by tutumd's variables, so the service cannot override them.

    Args:
        variables: The service's variables. None removes a variable.
    """
    base = {name: server.get(name) or default for name, default in DEFAULT_ENVIRONMENT.items()}
    ours = {
        CONTAINER_ID: container.id,
        "TUTUM_CONTAINER_NAME": container_name(record, container),
        "TUTUM_SERVICE_UUID": record.uuid,
        "TUTUM_SERVICE_NAME": record.name,
    }
    return base | {name: value for name, value in variables.items() if value is not None} | ours


def _environment_entry(container_id: str) -> bytes:
    return f"{CONTAINER_ID}={container_id}".encode()


def _send(stat: Stat, number: signal.Signals) -> None:
    """Signal exactly this process; do nothing if it is gone or this user lacks the permission."""
    with suppress(ProcessLookupError, PermissionError):
        pidfd = os.pidfd_open(stat.pid)
        try:
            now = procfs.read_stat(stat.pid)
            if now is not None and now.start_ticks == stat.start_ticks:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _describe(error: OSError | ValueError, directory: Path, output: Path) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if str(error.filename) == str(directory):
        return f"its working_dir {directory} cannot be used: {error.strerror}"
    return f"its output cannot be written: {error.strerror}" if error.filename == str(output) else str(error.strerror)
