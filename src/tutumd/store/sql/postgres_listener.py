"""Wake-ups between the processes on one PostgreSQL database, and their shared time."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import sqlalchemy as sa

from tutumd.boottime import boottime_s
from tutumd.ports import Clock
from tutumd.store.sql.database import Database
from tutumd.store.sql.postgres import channel_of
from tutumd.store.sql.wakeup import MIN_PAUSE_S, Wakeup

MAX_READ_S = 1.0
"""A reading of another clock that took longer than this is discarded: it is too imprecise."""

_DATABASE_TIME = sa.select(sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)))


class SharedClock:
    """Clock of tutumd.ports: a start time that processes agree on, plus the elapsed seconds."""

    def __init__(self, start: datetime, seconds: Callable[[], float] = boottime_s) -> None:
        """Start the clock; `start` is the time at 0 seconds."""
        self._seconds = seconds
        self._start = start

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds())

    def adjust(self, read_other: Clock) -> None:
        """Set this clock to the time of another clock, unless reading that clock took too long."""
        before = self._seconds()
        time = read_other()
        after = self._seconds()
        if after - before <= MAX_READ_S:
            self._start = time.astimezone(UTC) - timedelta(seconds=(before + after) / 2)


def database_clock(database: Database, seconds: Callable[[], float] = boottime_s) -> SharedClock:
    """Return a clock set to PostgreSQL's time. It drifts unless it is adjusted from time to time.

    Raises:
        UnavailableError: The database cannot be reached.
    """

    def database_time() -> datetime:
        with database.read() as connection:
            return connection.execute(_DATABASE_TIME).scalar_one()

    database_time()  # connect first, so that only the query is measured
    clock = SharedClock(datetime.now(UTC) - timedelta(seconds=seconds()), seconds)
    clock.adjust(database_time)
    return clock


_RECONNECT_S = 2.0
_LISTEN_S = 1.0
_log = logging.getLogger(__name__)


class Listener:
    """Passes notifications of other processes to this process's wakeup, and the database's time to its clock."""

    def __init__(self, url: sa.URL, wakeup: Wakeup, clock: SharedClock) -> None:
        """Start listening on a separate connection. While it is down, workers find work by polling."""
        # From SQLAlchemy, because the driver interprets a URL with several hosts differently.
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

        # A pooler may give each statement another session, which lacks the statements prepared earlier.
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
                self._wakeup.notify()  # earlier notifications are not lost
            if time.monotonic() >= next_comparison:
                self._clock.adjust(lambda: connection.execute("SELECT clock_timestamp()").fetchone()[0])
                next_comparison = time.monotonic() + _LISTEN_S
            if list(connection.notifies(timeout=_LISTEN_S, stop_after=1)):
                self._wakeup.notify()
                self._stop.wait(MIN_PAUSE_S)
