"""Processes of services: start them, recognise them, end them; never a process of somebody else.

A container here is a process in a session of its own with everything that it started. What belongs to it is told
by the session, and by the environment variable TUTUM_CONTAINER_ID, which also stays with a process that left the
session. Signals go through a pidfd after the identity was checked, so that a reused PID is never hit.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tutumd.engines.local import procfs
from tutumd.engines.local.environment import CONTAINER_ID
from tutumd.engines.local.exit_watch import ExitWatch
from tutumd.engines.local.procfs import Identity, Stat

POLL_S = 0.1
KILL_LIMIT_S = 5.0
"""How long SIGKILL may take; a process in an uninterruptible wait ends later than that."""


class SpawnError(Exception):
    """A process could not be started; the text says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start and where: `output` is the file that standard output and error are appended to."""

    command: str
    environment: Mapping[str, str]
    directory: Path
    output: Path


Doomed = Mapping[str, Identity | None]
"""Containers to end: from container ID to first process, None where that is unknown."""


class Processes:
    """The processes of this machine, as far as they are ours. Safe to use from several threads."""

    def __init__(self, boot_id: str, *, monotonic: Callable[[], float]) -> None:
        self._boot_id = boot_id
        self._monotonic = monotonic
        self._reaping = threading.Lock()

    def spawn(self, launch: Launch) -> Identity:
        """Start a process that does not depend on this one in any way. Raises SpawnError."""
        try:
            output = os.open(launch.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpawnError(f"its output cannot be written: {error.strerror}") from error
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", launch.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=launch.directory,
                env=dict(launch.environment),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise SpawnError(_describe(error, launch.directory)) from error
        finally:
            os.close(output)
        # Children are waited for by PID below; this object must neither do so nor warn that it did not.
        child.returncode = 0
        stat = procfs.read_stat(child.pid)
        return Identity(pid=child.pid, start_ticks=stat.start_ticks if stat else 0, boot_id=self._boot_id)

    def is_running(self, identity: Identity) -> bool:
        """Whether exactly this process is alive."""
        stat = self._present(identity)
        return stat is not None and stat.is_alive

    def is_of_this_boot(self, identity: Identity) -> bool:
        """Whether the machine has not been restarted since."""
        return identity.boot_id == self._boot_id

    def exit_code(self, identity: Identity) -> int | None:
        """Tell how a process ended, 128 + N for signal N, until `reap`; None where that cannot be known."""
        with self._reaping:
            stat = self._present(identity)
            if stat is None or stat.is_alive or stat.parent != os.getpid():
                return None
            try:
                result = os.waitid(os.P_PID, identity.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return None
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status

    def reap(self, identity: Identity) -> None:
        """Let a zombie go. Until then its PID, and with it the number of its session, is not given away."""
        with self._reaping:
            stat = self._present(identity)
            if stat is not None and not stat.is_alive and stat.parent == os.getpid():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(identity.pid, os.WNOHANG)

    def leaders(self, container_ids: Iterable[str]) -> dict[str, Identity]:
        """Find containers by the mark in their environment: those started by a server that died right then."""
        wanted = {_mark(container_id): container_id for container_id in container_ids}
        found: dict[str, Identity] = {}
        for stat in procfs.live_processes() if wanted else ():
            if stat.pid == stat.session:
                for mark in wanted.keys() & procfs.read_environment(stat.pid):
                    identity = Identity(pid=stat.pid, start_ticks=stat.start_ticks, boot_id=self._boot_id)
                    found[wanted[mark]] = identity
        return found

    def members(self, doomed: Doomed) -> tuple[Stat, ...]:
        """List what lives of the containers: their sessions, and whatever carries their mark."""
        marks = {_mark(container_id) for container_id in doomed}
        sessions = {first.pid for first in doomed.values() if first is not None and self._present(first)}
        return tuple(
            stat
            for stat in procfs.live_processes()
            if stat.pid != os.getpid()
            and (stat.session in sessions or not marks.isdisjoint(procfs.read_environment(stat.pid)))
        )

    def end(self, doomed: Doomed, *, grace_s: float, pause: Callable[[float], None]) -> tuple[int, ...]:
        """End containers: SIGTERM to all of them, SIGKILL to what is left after `grace_s`.

        Returns the PIDs that outlived even that; normally none.
        """
        for stat in self.members(doomed):
            _send(stat, signal.SIGTERM)
            _send(stat, signal.SIGCONT)  # a stopped process gets SIGTERM only when it is continued
        deadline = self._monotonic() + grace_s
        while (left := self.members(doomed)) and self._monotonic() < deadline:
            self._wait_for_exits(left, deadline, pause)
        if left:
            left = self.kill(doomed, pause=pause)
        for first in doomed.values():
            if first is not None:
                self.reap(first)
        return tuple(stat.pid for stat in left)

    def kill(self, doomed: Doomed, *, pause: Callable[[float], None]) -> tuple[Stat, ...]:
        """Send SIGKILL until nothing lives, or that took too long; return what still lives."""
        deadline = self._monotonic() + KILL_LIMIT_S
        while left := self.members(doomed):
            for stat in left:
                _send(stat, signal.SIGKILL)
            if self._monotonic() > deadline:
                break
            pause(POLL_S / 10)
        return left

    def _wait_for_exits(self, stats: Iterable[Stat], deadline: float, pause: Callable[[float], None]) -> None:
        """Wait until all these processes have ended, at the latest until `deadline`."""
        identities = {Identity(pid=stat.pid, start_ticks=stat.start_ticks, boot_id=self._boot_id) for stat in stats}
        with contextlib.closing(ExitWatch(self.is_running)) as exits:
            exits.watch(identities)
            while any(exits.is_running(identity) for identity in identities) and self._monotonic() < deadline:
                pause(POLL_S)
                exits.wait(0)

    def _present(self, identity: Identity) -> Stat | None:
        """The process, also as a zombie; None where it is gone, whoever has its PID now."""
        stat = procfs.read_stat(identity.pid) if identity.boot_id == self._boot_id else None
        return stat if stat is not None and stat.start_ticks == identity.start_ticks else None


def _mark(container_id: str) -> bytes:
    return f"{CONTAINER_ID}={container_id}".encode()


def _send(stat: Stat, number: signal.Signals) -> None:
    """Signal exactly this process. One that is gone, or became somebody else's, is left out."""
    try:
        handle = os.pidfd_open(stat.pid)
    except ProcessLookupError:
        return
    try:
        now = procfs.read_stat(stat.pid)
        if now is not None and now.start_ticks == stat.start_ticks:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone just now, or runs as another user: who calls sees it among what is left
    finally:
        os.close(handle)


def _describe(error: OSError | ValueError, directory: Path) -> str:
    if isinstance(error, OSError) and str(error.filename) == str(directory):
        return f"its working_dir {directory} cannot be used: {error.strerror}"
    return str(error.strerror) if isinstance(error, OSError) else str(error)
