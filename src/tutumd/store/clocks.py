"""The time as all processes on one database have it, whatever the clocks of their machines say."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from tutumd.boottime import boottime_s
from tutumd.store.database import Database
from tutumd.store.leases import end_all
from tutumd.store.tables import from_microseconds, meta, microseconds

LONGEST_LOOK_S = 1.0
"""A look at another clock that took longer than this tells too little."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_TIME = sa.text("SELECT clock_timestamp()")
_KEY = "clock "


class SharedClock:
    """Clock of ports.py: a time that was agreed upon, and the steady seconds since."""

    def __init__(self, start: datetime, seconds: Callable[[], float] = boottime_s) -> None:
        """Begin; `start` is the time at 0 seconds."""
        self._seconds = seconds
        self._start = start

    def __call__(self) -> datetime:
        """Tell the time."""
        return self._start + timedelta(seconds=self._seconds())

    def compare(self, look: Callable[[], datetime]) -> None:
        """Set this by another clock, unless looking at it took too long."""
        before = self._seconds()
        told = look()
        after = self._seconds()
        if after - before <= LONGEST_LOOK_S:
            self._start = told - timedelta(seconds=(before + after) / 2)


def database_clock(database: Database, seconds: Callable[[], float] = boottime_s) -> SharedClock:
    """Make a clock that tells PostgreSQL's time; to be compared with it now and then. Raises UnavailableError."""

    def look() -> datetime:
        with database.read() as connection:
            told: datetime = connection.execute(_TIME).scalar_one()
        return told.astimezone(UTC)

    look()  # connecting takes longer than the look that counts
    clock = SharedClock(datetime.now(UTC) - timedelta(seconds=seconds()), seconds)
    clock.compare(look)
    return clock


def machine_clock(
    database: Database, wall: Callable[[], datetime], seconds: Callable[[], float] = boottime_s
) -> Callable[[], datetime]:
    """Make a clock that all processes of this machine share until it starts anew, and that is never set.

    It may be wrong, if the machine's clock was when the first process asked, so it is for leases only. Where the
    system does not name its starts, it is the machine's clock.
    """
    if not _BOOT.exists():
        return wall
    key = f"{_KEY}{_BOOT.read_text(encoding='ascii').strip()}"
    stored = sa.select(meta.c.value).where(meta.c.key == key)
    with database.read() as connection:
        found = connection.execute(stored).scalar()
    if found is None:
        with database.write() as connection:
            found = connection.execute(stored).scalar()  # another process may have been quicker
            if found is None:
                found = str(microseconds(wall() - timedelta(seconds=seconds())))
                is_new_start = connection.execute(sa.delete(meta).where(meta.c.key.startswith(_KEY))).rowcount > 0
                if is_new_start:  # who held a lease ended with the machine, whose clock may be behind that of before
                    end_all(connection)
                connection.execute(sa.insert(meta).values(key=key, value=found))
    return SharedClock(from_microseconds(int(found)), seconds)
