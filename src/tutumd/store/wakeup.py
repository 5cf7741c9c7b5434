"""Wakes workers when something was queued: those of this process at once, others through PostgreSQL's NOTIFY."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Condition, Event, Thread
from typing import Any

import sqlalchemy as sa

from tutumd.store.clocks import SharedClock

_CHANNEL = "tutumd"
_RECONNECT_S = 2.0
_LISTEN_S = 1.0


class Wakeup:
    """A counter that threads can wait on. A notice between two waits is not lost."""

    def __init__(self) -> None:
        """Start at rest."""
        self._condition = Condition()
        self._count = 0
        self._seen = 0

    def notify(self) -> None:
        """Tell that something was queued."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Sleep until a notice that no earlier wait has seen, or until the time is over. For one waiter."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != self._seen, timeout_s)
            self._seen = self._count

    def tell_others(self, connection: sa.Connection) -> None:
        """Let the transaction, when it commits, wake the workers of other processes. SQLite's find out by looking."""
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_notify(_CHANNEL, "")))


class Listener:
    """Passes the notices of other processes on to this one's signal, and the time of the database to its clock."""

    def __init__(self, url: sa.URL, wakeup: Wakeup, clock: SharedClock) -> None:
        """Start listening, on a connection of its own; while there is none, workers find work by looking."""
        # As for the other connections: several hosts are written in another way than the driver reads.
        _, self._arguments = url.get_dialect()().create_connect_args(url)
        self._notify: Callable[[], None] = wakeup.notify
        self._clock = clock
        self._stop = Event()
        self._thread = Thread(target=self._listen_for_ever, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join(2 * _LISTEN_S + _RECONNECT_S)

    def _listen_for_ever(self) -> None:
        import psycopg  # an extra of its own

        while not self._stop.is_set():
            try:
                with psycopg.connect(**{"connect_timeout": 5, **self._arguments}, autocommit=True) as connection:
                    self._listen(connection)
            except psycopg.Error:
                self._stop.wait(_RECONNECT_S)

    def _listen(self, connection: Any) -> None:
        def look() -> datetime:
            told: datetime = connection.execute("SELECT clock_timestamp()").fetchone()[0]
            return told.astimezone(UTC)

        connection.execute(f"LISTEN {_CHANNEL}")
        next_look = 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_look:
                self._clock.compare(look)
                next_look = time.monotonic() + _LISTEN_S
            for _ in connection.notifies(timeout=_LISTEN_S, stop_after=1):
                self._notify()
