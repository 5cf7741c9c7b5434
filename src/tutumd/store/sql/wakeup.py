"""Wakes threads that wait for work or for the end of an action: in this process, and in all others on the same
database.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_UNIX, MSG_DONTWAIT, SHUT_RD, SOCK_DGRAM, socket
from stat import S_ISSOCK
from threading import Condition, Thread
from uuid import uuid4

import sqlalchemy as sa

from tutumd.ports import Clock
from tutumd.store.sql.database import Database

ENDS = "*"
"""The topic of ended actions and stored responses."""
NOTIFICATIONS = "*notifications"
"""The topic of stored notifications. Every other topic is the name of an engine whose work has changed."""

MIN_PAUSE_S = 0.005
"""Notifications from other processes within this time wake this process once."""


class Wakeup:
    """A count of notifications for subscribed topics, and a wait for the next notification.

    Attributes:
        topics: Topics that this process subscribes to.
        send: Wakes the other processes on SQLite that subscribe to one of these topics. On PostgreSQL, the commit wakes
            them.
    """

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.send: Callable[[Collection[str]], None] = lambda topics: None
        self._condition = Condition()
        self._count = 1  # so that a first wait, which subscribes, ends immediately: no notification is lost

    def notify(self) -> None:
        """Wake the waiting threads of this process."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout_s: float) -> int:
        """Wait until the count differs from `seen`, which is 0 at first, or the time is over; return the count."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout_s)
            return self._count

    def publish(self, topics: Collection[str]) -> None:
        """Wake all subscribers to one of these topics, after the commit."""
        if not self.topics.isdisjoint(topics):
            self.notify()
        if topics:
            self.send(topics)

    @contextmanager
    def write(self, database: Database, on: sa.Connection | None = None) -> Iterator[tuple[sa.Connection, set[str]]]:
        """Open a transaction like `Database.write`. Its commit publishes the topics that are added to the set."""
        topics: set[str] = set()
        with database.write(on) as connection:
            yield connection, topics
            if topics:
                database.dialect.notify(connection, topics)
        self.publish(topics)


class StorePart:
    """Base of the classes that make up the store and the queues."""

    def __init__(self, database: Database, clock: Clock, wakeup: Wakeup, lease_clock: Clock | None = None) -> None:
        """Create the part.

        Args:
            wakeup: Wakes the waiting threads of this process and of other processes.
            lease_clock: A clock for leases that is never set and that all workers share; by default `clock`.
        """
        self._database = database
        self._clock = clock
        self._wakeup = wakeup
        self._lease_clock = lease_clock or clock


_MAX_BYTES = 65_536
_QUEUED = 10
"""Minimum number of datagrams that the system keeps for a socket. Beyond that number, others may have been lost."""

_log = logging.getLogger(__name__)


class WakeSocket:
    """Passes topics from other processes to this process's wakeup, and its own topics to them."""

    def __init__(self, folder: Path, wakeup: Wakeup) -> None:
        """Start to receive. If the folder cannot be used, the workers find work of other processes by polling."""
        self._wakeup = wakeup
        self._socket = socket(AF_UNIX, SOCK_DGRAM)
        self._name = uuid4().hex  # processes in different containers may have the same number
        self._folder = -1
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            hidden = f".{self._name}"
            self._socket.bind(self._address(hidden))
            os.chmod(hidden, 0o600, dir_fd=self._folder)
            # Senders see it only now: before, a socket that is being bound refused like the socket of a killed process.
            os.rename(hidden, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError as error:
            _log.warning("no socket in %s: work of other processes is found by polling (%s)", folder, error)
        self._thread = Thread(target=self._receive, name="wake", daemon=True)
        self._thread.start()
        wakeup.send = self.send
        self.send([self._name])  # nobody subscribes to it: this only removes the sockets of killed processes

    def send(self, topics: Collection[str]) -> None:
        """Wake the other processes that subscribe to one of these topics. Never waits, and never fails."""
        with suppress(OSError):
            # By path: threads that list one descriptor at the same time share its position, and miss entries.
            for name in os.listdir(self._address("")):  # noqa: PTH208 (the path is text here)
                if name != self._name and not name.startswith("."):
                    self._send("\0".join(topics).encode(), name)

    def close(self) -> None:
        """Stop receiving, and remove the socket."""
        self._socket.shutdown(SHUT_RD)
        self._thread.join()
        self._socket.close()
        if self._folder >= 0:
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
            os.close(self._folder)

    def _send(self, message: bytes, name: str) -> None:
        with suppress(OSError):  # its buffer may be full: its process then wakes anyway
            try:
                self._socket.sendto(message, MSG_DONTWAIT, self._address(name))
            except ConnectionRefusedError:  # its process was killed, or the file belongs to somebody else
                if S_ISSOCK(os.lstat(name, dir_fd=self._folder).st_mode):
                    os.unlink(name, dir_fd=self._folder)

    def _address(self, name: str) -> str:
        # The path of the folder may be longer than the 107 bytes of a socket address.
        return f"/proc/self/fd/{self._folder}/{name}"

    def _receive(self) -> None:
        while message := self._socket.recv(_MAX_BYTES):
            messages = [message]
            with suppress(BlockingIOError):
                while len(messages) < _QUEUED:
                    messages.append(self._socket.recv(_MAX_BYTES, MSG_DONTWAIT))
            topics = b"\0".join(messages).decode(errors="replace").split("\0")
            if len(messages) >= _QUEUED or not self._wakeup.topics.isdisjoint(topics):
                self._wakeup.notify()
            time.sleep(MIN_PAUSE_S)
