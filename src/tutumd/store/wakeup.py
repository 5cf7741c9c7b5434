"""Wakes workers when something was queued: directly in this process, through PostgreSQL's NOTIFY in others."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Event, Thread
from typing import Any

import sqlalchemy as sa

from tutumd.store.clocks import SharedClock
from tutumd.store.compiled import execute_later
from tutumd.store.database import Database

_CHANNEL = "tutumd"
_NOTIFY = sa.text("SELECT pg_notify(:channel, '')")
_RECONNECT_S = 2.0
_LISTEN_S = 1.0


class Wakeup:
    """A counter that one thread waits on. A notification between two waits is not lost."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._notifications = 0
        self._handled = 0

    def notify(self) -> None:
        """Wake the waiting thread."""
        with self._condition:
            self._notifications += 1
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until a notification that no earlier wait has handled; return False if the time ran out."""
        with self._condition:
            woken = self._condition.wait_for(lambda: self._notifications != self._handled, timeout_s)
            self._handled = self._notifications
        return woken

    def notify_others(self, connection: sa.Connection) -> None:
        """Make the transaction's commit wake the workers of other processes. With SQLite, they poll instead."""
        if connection.dialect.name == "postgresql":
            execute_later(connection, _NOTIFY, channel=_CHANNEL)

    @contextmanager
    def write(self, database: Database) -> Iterator[sa.Connection]:
        """Open a transaction that may write, and wake all workers when it is committed."""
        with database.write() as connection:
            yield connection
            self.notify_others(connection)
        self.notify()


class Listener:
    """Passes notifications of other processes to this process's wakeup, and the database's time to its clock."""

    def __init__(self, url: sa.URL, wakeup: Wakeup, clock: SharedClock) -> None:
        """Start listening on a separate connection. While it is down, workers find work by polling."""
        # From SQLAlchemy, because a URL with several hosts reads differently for the driver.
        _, self._arguments = url.get_dialect()().create_connect_args(url)
        self._notify: Callable[[], None] = wakeup.notify
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

        while not self._stop.is_set():
            try:
                with psycopg.connect(**{"connect_timeout": 5, **self._arguments}, autocommit=True) as connection:
                    self._listen(connection)
            except psycopg.Error:
                self._stop.wait(_RECONNECT_S)

    def _listen(self, connection: Any) -> None:
        connection.execute(f"LISTEN {_CHANNEL}")
        next_comparison = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_comparison:
                self._clock.adjust(lambda: connection.execute("SELECT clock_timestamp()").fetchone()[0])
                next_comparison = time.monotonic() + _LISTEN_S
            for _ in connection.notifies(timeout=_LISTEN_S, stop_after=1):
                self._notify()
