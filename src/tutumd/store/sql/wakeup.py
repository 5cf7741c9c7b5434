"""Wakes threads that wait for work or for its end: in this process, and in all others on the same database."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import Condition

import sqlalchemy as sa

from tutumd.store.sql.database import Database

ENDS = "*"
"""The topic of ended actions and stored responses. Every other topic is an engine, whose work has changed."""

MIN_PAUSE_S = 0.005
"""What arrives from other processes within this time wakes this one once."""


class Wakeup:
    """A count of notifications of the topics that this process hears, for threads that wait for the next one.

    Attributes:
        topics: What this process hears.
        send: Wakes the other processes on SQLite that hear one of these topics. On PostgreSQL, the commit does.
    """

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.send: Callable[[Collection[str]], None] = lambda topics: None
        self._condition = Condition()
        self._count = 1  # so that a first wait, which hears from then on, ends at once: nothing before it is lost

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
        """Wake all who hear one of these topics, after the commit."""
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
