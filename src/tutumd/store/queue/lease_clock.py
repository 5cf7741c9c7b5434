"""The clock of leases on SQLite, which all processes of one machine share."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from tutumd.boottime import boottime_s
from tutumd.ports.clock import Clock
from tutumd.store.queue.leases import end_leases
from tutumd.store.sql.clocks import SharedClock
from tutumd.store.sql.database import Database
from tutumd.store.tables.schema import from_microseconds, meta, microseconds

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_KEY_PREFIX = "clock "


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
