"""Databases under test, and their faults."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.guards import lacking
from tests.support.postgres_bed import PostgresBed

DISK_MB = 24
_LOCKED_S = 2.0


class SqliteDisk:
    """A SQLite database on a small disk of its own, where there is the right to mount one."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        self.is_small = os.geteuid() == 0 and self._mount()
        self.url = f"sqlite:///{self.data / 'tutumd.db'}"

    def is_locked(self) -> bool:
        """Return whether a process holds the write lock, for example one that is stopped in the middle of a write."""
        with closing(sqlite3.connect(self.data / "tutumd.db", timeout=_LOCKED_S, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
        return False

    def fill(self) -> None:
        """Leave no byte free."""
        assert self.is_small
        with (self.data / "filler").open("ab", buffering=0) as file:
            size = 65536
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Free the disk again."""
        (self.data / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        if self.is_small:
            subprocess.run(["umount", str(self.data)], check=True, timeout=120)

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tutumd-faults", str(self.data)]
        return subprocess.run(command, check=False, timeout=120, capture_output=True).returncode == 0


class PostgresServer:
    """A database on a private PostgreSQL server."""

    kind = "postgresql"

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self._bed = PostgresBed()
        self._bed.start()
        self.url = self._bed.new_database()
        self._name = self.url.partition("@/")[2].partition("?")[0]

    def restart(self, *, crash: bool, down_s: float) -> None:
        """Stop the server, as an upgrade does or as a crash does, and start it again."""
        self._bed.stop_server(signal.SIGQUIT if crash else signal.SIGINT)
        time.sleep(down_s)
        self._bed.start_server()

    def drop_connections(self) -> None:
        """End all connections to the database."""
        self._bed.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self._name}' AND pid <> pg_backend_pid()"
        )

    def close(self) -> None:
        self._bed.stop()


Database = SqliteDisk | PostgresServer


def remove(folder: Path) -> None:
    """Remove a bed's folder."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[SqliteDisk]:
    """Mount a small disk in a folder while the block runs. Needs root."""
    disk = SqliteDisk(folder)
    if not disk.is_small:
        lacking("this needs root, to mount a small disk")
    try:
        yield disk
    finally:
        disk.close()
