"""A private PgBouncer in transaction mode before a PostgreSQL bed."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.support.leaks import current_owner
from tests.support.postgres_bed import PostgresBed
from tests.support.programs import listens
from tests.support.server import free_port
from tests.support.waiting import wait_until

# Two connections to the server for all clients, so that one client's transactions meet another's connection. All else
# is as PgBouncer has it.
_SETTINGS = """
[databases]
* = host={folder}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
logfile = {folder}/pgbouncer.log
pool_mode = transaction
default_pool_size = 2
"""


def missing_pgbouncer() -> str:
    """Return the command that installs it; empty if it is there."""
    return "" if _program() else "the PgBouncer tests need: apt-get install --no-install-recommends pgbouncer"


def _program() -> str | None:
    return shutil.which("pgbouncer", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")


class PgBouncerBed:
    """One private PgBouncer."""

    def __init__(self, postgres: PostgresBed) -> None:
        self.port = free_port()
        self._postgres = postgres
        self._process: subprocess.Popen[bytes] | None = None
        self._file = postgres.folder / "pgbouncer.ini"
        self._file.write_text(_SETTINGS.format(folder=postgres.folder, port=self.port))
        Path(postgres.folder / "users.txt").write_text('"tutumd" ""\n')

    def url(self, direct: str) -> str:
        """Return the URL of a database that leads through PgBouncer."""
        name = direct.partition("@/")[2].partition("?")[0]
        return f"postgresql://tutumd@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        program = _program()
        assert program is not None, missing_pgbouncer()
        self._process = subprocess.Popen(
            [program, "-q", str(self._file)],
            stderr=subprocess.DEVNULL,
            env=os.environ | current_owner(),
            start_new_session=True,
            user=self._postgres.uid,
            group=self._postgres.gid,
        )
        wait_until(lambda: listens(self.port), "PgBouncer accepts connections")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it at once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None
