"""Exits of processes as the kernel reports them: a pidfd becomes readable when its process has ended.

Source: pidfd_open(2). Unlike waitpid(2), it also works for processes that an earlier server started.
"""

import contextlib
import os
import resource
import select
from collections.abc import Callable, Set

from tutumd.engines.local.procfs import Identity


class ExitWatch:
    """Knows which processes still run without reading /proc again and again. For one thread.

    The upper half of the file descriptors that this process may open stays free, whatever the number of watches. /proc
    is read for processes beyond that.
    """

    def __init__(self, is_running: Callable[[Identity], bool]) -> None:
        """Watch nothing yet.

        is_running: Reads /proc. Asked about processes that are not watched.
        """
        self._read_is_running = is_running
        self._poll = select.poll()
        self._pidfds: dict[Identity, int] = {}

    def watch(self, identities: Set[Identity]) -> None:
        """Watch these processes, and no others any longer."""
        for identity in self._pidfds.keys() - identities:
            self._close(identity)
        for identity in identities - self._pidfds.keys():
            self._open(identity)

    def wait(self, timeout_s: float) -> None:
        """Return when a watched process has ended, at the latest after `timeout_s`."""
        ended = {pidfd for pidfd, _ in self._poll.poll(timeout_s * 1000)}
        for identity in [identity for identity, pidfd in self._pidfds.items() if pidfd in ended]:
            self._close(identity)

    def is_running(self, identity: Identity) -> bool:
        """Return whether exactly this process ran at the last `wait`, or now if it is not watched."""
        return identity in self._pidfds or self._read_is_running(identity)

    def close(self) -> None:
        """Close all pidfds."""
        self.watch(frozenset())

    def _open(self, identity: Identity) -> None:
        with contextlib.suppress(OSError):  # it is gone, or no descriptor is free
            pidfd = os.pidfd_open(identity.pid)
            self._pidfds[identity] = pidfd
            self._poll.register(pidfd, select.POLLIN)
            # The kernel gives out the lowest free number, so a high one means that many are in use.
            is_scarce = pidfd >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
            # It may have ended, or the PID be another process's. That is certain only once the pidfd is open.
            if is_scarce or not self._read_is_running(identity):
                self._close(identity)

    def _close(self, identity: Identity) -> None:
        pidfd = self._pidfds.pop(identity)
        self._poll.unregister(pidfd)
        os.close(pidfd)
