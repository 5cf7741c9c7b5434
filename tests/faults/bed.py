"""Everything that runs during the rounds: a database, web replicas, workers, and the engine that they share."""

import shutil
import tempfile
import time
from pathlib import Path

from tests.faults import databases, processes
from tests.faults.api import Api
from tests.faults.databases import Database, PostgresServer, SqliteDisk
from tests.faults.journal import CREATE, DONE, SETUP, START, Entry, Reader
from tests.faults.processes import Program
from tests.support.server import free_port
from tests.support.waiting import wait_until

SERVICES = ("api", "blog", "cart", "docs")
CONTAINERS = 2
"""How many containers each service has when a round begins."""

_READY_S = 120.0


class Bed:
    """Web replicas and workers over one database, or `together`: one `tutumd serve`, which is both."""

    def __init__(self, kind: str, seed: int) -> None:
        """Prepare everything; nothing but the database runs yet."""
        self.folder = Path(tempfile.mkdtemp(prefix="tutumd-faults-", dir="/tmp"))
        self.database: Database = SqliteDisk(self.folder) if kind == "sqlite" else PostgresServer(self.folder)
        self.journal = Reader(self.folder / "journal")
        self.engine = processes.engine(self.folder, self.journal.path, seed)
        where = (self.folder, self.database.url, self.database.data)
        webs = 1 if kind == "sqlite" else 2
        serve = processes.with_engine("serve", "serve", *where, free_port())
        self._together = ([serve], [serve])
        self._apart = (
            [processes.web(f"web-{number + 1}", *where, free_port()) for number in range(webs)],
            [processes.with_engine("worker", f"worker-{number + 1}", *where) for number in range(2)],
        )
        self.webs, self.workers = self._apart
        self.is_proxied = False
        """Whether calls go through the proxy, if there is one."""
        ports = [web.port for web in self.webs]
        self._proxy = processes.proxy(self.folder, free_port(), ports) if len(ports) == 2 else None

    def start(self) -> None:
        """Start everything, with the same containers in each service."""
        with self.journal.path.open("w") as file:
            for service in SERVICES:
                for number in range(CONTAINERS):
                    for call in (CREATE, START):
                        file.write(_setup_entry(service, call, f"{service}-{number}").line())
        self.start_ended()

    def arrange(self, *, together: bool) -> None:
        """Change to one process or to several; the others end as a service manager would end them."""
        if self.is_together != together:
            for program in self.programs:
                program.stop()
            self.webs, self.workers = self._together if together else self._apart
        self.start_ended()

    @property
    def is_together(self) -> bool:
        return self.webs is self._together[0]

    @property
    def has_proxy(self) -> bool:
        return self._proxy is not None

    @property
    def proxy(self) -> Program | None:
        """nginx in front of the web replicas, for rounds in which calls go through it."""
        return self._proxy if self.is_proxied and not self.is_together else None

    @property
    def kind(self) -> str:
        return self.database.kind

    @property
    def can_fill(self) -> bool:
        """Whether the database is on a small disk that a fault can fill."""
        return isinstance(self.database, SqliteDisk) and self.database.is_small

    @property
    def programs(self) -> list[Program]:
        """The web replicas and workers, each once."""
        return [*self.webs, *(worker for worker in self.workers if worker not in self.webs)]

    @property
    def api(self) -> Api:
        """The API, at all web replicas."""
        return Api([web.port for web in self.webs])

    def start_ended(self) -> None:
        """Start what is down, and wait until everything works."""
        for program in (self.engine, *self.programs, *self._in_front):
            if not program.runs:
                program.start()
        for web in self.webs:
            self._wait_ready(web)

    def keep_evidence(self) -> Path:
        """Copy logs and journal to where they stay."""
        kept = Path(tempfile.mkdtemp(prefix="tutumd-faults-kept-", dir="/tmp"))
        for file in [*self.folder.glob("*.log"), self.journal.path]:
            if file.exists():
                shutil.copy(file, kept)
        return kept

    def close(self) -> None:
        """End everything and remove the folder."""
        for program in (*self.programs, self.engine):
            if program.runs:
                program.kill()
        for program in self._in_front:
            if program.runs:
                program.stop()  # it has a process of its own that would stay
        self.database.close()
        databases.remove(self.folder)

    @property
    def _in_front(self) -> list[Program]:
        return [] if self._proxy is None else [self._proxy]

    def _wait_ready(self, web: Program) -> None:
        def is_ready() -> bool:
            assert not (ended := web.ended_by_itself()), ended
            return Api([web.port]).count("/api/v1/service/") == len(SERVICES)

        wait_until(is_ready, f"{web.name} shows the services; see {self.folder}", _READY_S)


def _setup_entry(service: str, call: str, name: str) -> Entry:
    return Entry(at=time.monotonic(), kind=DONE, run=SETUP, worker=0, action="", service=service, call=call, name=name)
