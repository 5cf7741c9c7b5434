"""Clocks that processes share, whatever the clocks of their machines say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from tutumd.boottime import boottime_s
from tutumd.ports.clock import Clock
from tutumd.store.sql.database import Database

MAX_READ_S = 1.0
"""A reading of another clock that took longer than this is discarded: it is too imprecise."""

_DATABASE_TIME = sa.select(sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)))


class SharedClock:
    """Clock of tutumd.ports: a start time that processes agree on, plus the seconds since."""

    def __init__(self, start: datetime, seconds: Callable[[], float] = boottime_s) -> None:
        """Start the clock; `start` is the time at 0 seconds."""
        self._seconds = seconds
        self._start = start

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds())

    def adjust(self, read_other: Clock) -> None:
        """Set this clock to the time of another one, unless reading that took too long."""
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
