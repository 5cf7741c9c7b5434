"""Clocks that all processes on one database share, whatever the clocks of their machines say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from tutumd.boottime import boottime_s
from tutumd.ports.clock import Clock
from tutumd.store.queue.leases import end_leases
from tutumd.store.sql.database import Database
from tutumd.store.tables.schema import from_microseconds, meta, microseconds

MAX_READ_S = 1.0
"""A reading of another clock that took longer than this is discarded: it is too imprecise."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DATABASE_TIME = sa.select(sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)))
_KEY_PREFIX = "clock "


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


def machine_clock(database: Database, wall: Clock, seconds: Callable[[], float] = boottime_s) -> Clock:
    """Return a clock that all processes of this machine share until it reboots, and that is never set.

    It keeps the error that the machine's clock had when the first process asked, so it is for leases only. On a system
    without boot IDs it is the machine's own clock.
    """
    if not _BOOT_ID.exists():
        return wall
    key = f"{_KEY_PREFIX}{_BOOT_ID.read_text(encoding='ascii').strip()}"
    stored = sa.select(meta.c.value).where(meta.c.key == key)
    with database.read() as connection:
        start = connection.execute(stored).scalar()
    if start is None:
        with database.write() as connection:
            start = connection.execute(stored).scalar()  # another process may have stored it in the meantime
            if start is None:
                start = str(microseconds(wall() - timedelta(seconds=seconds())))
                rebooted = connection.execute(sa.delete(meta).where(meta.c.key.startswith(_KEY_PREFIX))).rowcount > 0
                if rebooted:  # no holder of a lease survived, and the new clock may be behind the old one
                    end_leases(connection)
                connection.execute(sa.insert(meta).values(key=key, value=start))
    return SharedClock(from_microseconds(int(start)), seconds)
