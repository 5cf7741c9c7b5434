"""A private PostgreSQL while the tests run: its own folder, and a Unix socket only."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.support.leaks import current_owner
from tests.support.processes import send_to_tree
from tests.support.programs import end, start
from tests.support.waiting import wait_until

SERVERS = Path("/usr/lib/postgresql")
# A crash loses what was not committed only while the WAL writer has not written it.
_SETTINGS = """
listen_addresses = ''
max_connections = 200
shared_buffers = 128MB
wal_writer_delay = 10s
"""
# Processes crash here, not machines. Otherwise, a server that starts after a crash writes all its files to the disk.
_NOT_DURABLE = "fsync = off\n"


def programs() -> Path | None:
    """Return the folder of the newest server's programs, None if no server is installed."""
    found = sorted(SERVERS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def missing_postgres() -> str:
    """Return what is missing and the command that installs it; empty if nothing is."""
    return "" if programs() else "the PostgreSQL tests need: apt-get install --no-install-recommends postgresql"


class PostgresBed:
    """One private server."""

    def __init__(self, *, durable: bool = False) -> None:
        """Say where its files will be. `durable`: commits survive a crash of the machine, and take as long."""
        self._settings = _SETTINGS if durable else _SETTINGS + _NOT_DURABLE
        self.folder = Path(tempfile.mkdtemp(prefix="tutumd-postgres-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = current_owner()
        # PostgreSQL refuses to run as root.
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.uid = nobody.pw_uid if nobody else None
        self.gid = nobody.pw_gid if nobody else None

    def start(self) -> None:
        """Make the cluster and start the server."""
        if self.uid is not None and self.gid is not None:
            os.chown(self.folder, self.uid, self.gid)
        self._run("initdb", "--no-sync", "-U", "tutumd", "-A", "trust", "-D", str(self.folder / "data"))
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"{self._settings}unix_socket_directories = '{self.folder}'\n")
        self.start_server()

    def start_server(self) -> None:
        """Start the server and wait until it accepts connections."""
        command = [self._program("postgres"), "-D", str(self.folder / "data")]
        environment = os.environ | self._owner
        log = self.folder / "log"
        self._process = start(command, log, env=environment, cwd=self.folder, user=self.uid, group=self.gid)
        wait_until(self._answers, f"PostgreSQL accepts connections; {self.folder}/log")

    def stop_server(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends its connections at once."""
        assert self._process is not None
        process, self._process = self._process, None
        end(process, how)

    def send_to_all(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the server; SIGSTOP makes it hang, SIGCONT lets it go on."""
        assert self._process is not None
        send_to_tree(self._process.pid, number)

    def become_standby(self) -> None:
        """Restart the server as a read-only standby without a primary; `pg_promote()` ends that."""
        self.stop_server()
        (self.folder / "data" / "standby.signal").touch()
        self.start_server()

    def stop(self) -> None:
        """Stop the server and remove everything."""
        if self._process is not None:
            self.stop_server()
        shutil.rmtree(self.folder)

    def new_database(self, encoding: str = "UTF8") -> str:
        """Make an empty database and return its URL."""
        name = f"t{uuid.uuid4().hex[:12]}"
        other = f" ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'" if encoding != "UTF8" else ""
        self.query(f"CREATE DATABASE {name}{other}")
        return f"postgresql://tutumd@/{name}?host={self.folder}"

    def query(self, statement: str, database: str = "postgres") -> str:
        """Run a statement and return the output of psql."""
        done = self._run("psql", "-h", str(self.folder), "-U", "tutumd", "-d", database, "-Atc", statement)
        return done.stdout.decode()

    def reload(self) -> None:
        """Let the server read its files again, and wait until new connections go by them."""
        loaded = "SELECT pg_conf_load_time()"
        before = self.query(loaded)
        self.query("SELECT pg_reload_conf()")
        wait_until(lambda: self.query(loaded) != before, "the server has read its files")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        command = [self._program("pg_isready"), "-q", "-h", str(self.folder)]
        return subprocess.run(command, check=False, timeout=60).returncode == 0

    def _program(self, name: str) -> str:
        found = programs()
        assert found is not None, missing_postgres()
        return str(found / name)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._program(program), *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            timeout=120,
            user=self.uid,
            group=self.gid,
        )
