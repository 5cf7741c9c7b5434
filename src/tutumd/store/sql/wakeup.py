"""Wakes threads that wait for work or for its end: in this process, and in all others on the same database."""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Condition, Event, Thread
from typing import Any

import sqlalchemy as sa

from tutumd.store.sql.clocks import SharedClock
from tutumd.store.sql.compiled import execute_later
from tutumd.store.sql.database import Database

ENDS = "*"
"""The topic of ended actions and stored responses. Every other topic is an engine, whose work has changed."""

MIN_PAUSE_S = 0.005
"""What arrives from other processes within this time wakes this one once."""

_RECONNECT_S = 2.0
_LISTEN_S = 1.0
_NOTIFY = sa.text("SELECT pg_notify(channel, '') FROM unnest(CAST(:channels AS text[])) AS channel")
_log = logging.getLogger(__name__)


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
            if topics and database.is_postgres:
                execute_later(connection, _NOTIFY, channels=sorted(map(channel_of, topics)))
        self.publish(topics)


def channel_of(topic: str) -> str:
    """Return PostgreSQL's channel for a topic: the name of an engine is too long for one."""
    return f"tutumd_{sha256(topic.encode()).hexdigest()[:16]}"


class Listener:
    """Passes notifications of other processes to this process's wakeup, and the database's time to its clock."""

    def __init__(self, url: sa.URL, wakeup: Wakeup, clock: SharedClock) -> None:
        """Start listening on a separate connection. While it is down, workers find work by polling."""
        # From SQLAlchemy, because a URL with several hosts reads differently for the driver.
        _, self._arguments = url.get_dialect()().create_connect_args(url)
        self._wakeup = wakeup
        self._clock = clock
        self._stop = Event()
        self._thread = Thread(target=self._keep_listening, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join(2 * _LISTEN_S + _RECONNECT_S)

    def _keep_listening(self) -> None:
        import psycopg  # comes with the extra `postgres`

        # A pooler may give each statement another session, where what an earlier one prepared is missing.
        arguments = {"connect_timeout": 5, **self._arguments, "prepare_threshold": None}
        while not self._stop.is_set():
            try:
                with psycopg.connect(**arguments, autocommit=True) as connection:
                    self._listen(connection)
            except psycopg.Error:
                self._stop.wait(_RECONNECT_S)

    def _listen(self, connection: Any) -> None:
        (session,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        is_direct = session == connection.info.backend_pid
        if not is_direct:
            _log.warning("a pooler is before PostgreSQL: work is found by polling; TUTUMD_LISTEN_URL would avoid that")
        heard: set[str] = set()
        next_comparison = 0.0
        while not self._stop.is_set():
            for topic in self._wakeup.topics - heard if is_direct else ():
                connection.execute(f"LISTEN {channel_of(topic)}")
                heard.add(topic)
                self._wakeup.notify()  # what came before is not lost
            if time.monotonic() >= next_comparison:
                self._clock.adjust(lambda: connection.execute("SELECT clock_timestamp()").fetchone()[0])
                next_comparison = time.monotonic() + _LISTEN_S
            if list(connection.notifies(timeout=_LISTEN_S, stop_after=1)):
                self._wakeup.notify()
                self._stop.wait(MIN_PAUSE_S)
