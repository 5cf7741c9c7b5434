"""Everything that runs during the rounds: a database, web replicas, workers, and the engine that they share."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults import databases, processes
from tests.faults.api import Api
from tests.faults.databases import Database, PostgresServer, SqliteDisk
from tests.faults.journal import CREATE, DONE, SETUP, START, Entry, Reader
from tests.faults.processes import Program
from tests.support.waiting import wait_until

SERVICES = ("api", "blog", "cart", "docs")
CONTAINERS = 2
"""How many containers each service has when a round begins."""

_READY_S = 30.0


class Bed:
    """One arrangement of processes over one database. `together`: one `tutumd serve`, which is web and worker."""

    def __init__(self, kind: str, seed: int, *, together: bool = False) -> None:
        """Start everything and wait until it works."""
        self.folder = Path(tempfile.mkdtemp(prefix="tutumd-faults-", dir="/tmp"))
        self.journal = Reader(self.folder / "journal")
        self.database: Database = SqliteDisk(self.folder) if kind == "sqlite" else PostgresServer(self.folder)
        _write_first_containers(self.journal.path)
        self.engine = processes.engine(self.folder, self.journal.path, seed)
        self._serve = self._with_engine("serve", "serve", processes.free_port())
        count = 1 if kind == "sqlite" else 2
        self._webs = [self._web(f"web-{number}") for number in range(1, count + 1)]
        self._workers = [self._with_engine("worker", f"worker-{number}") for number in (1, 2)]
        self.is_together = together
        self.webs: list[Program] = []
        self.workers: list[Program] = []
        try:
            self.engine.start()
            self._start_all()
        except BaseException:
            self.close()
            raise

    @property
    def kind(self) -> str:
        return self.database.kind

    @property
    def api(self) -> Api:
        """The API, at all web replicas."""
        return Api([self.ports[web.name] for web in self.webs])

    def arrange(self, *, together: bool) -> None:
        """Change to one process or to several; the others end as a service manager would end them."""
        if together == self.is_together:
            return
        for program in self.programs():
            program.stop()
        self.is_together = together
        self._start_all()

    def programs(self) -> list[Program]:
        """List the web replicas and workers, each once."""
        return [*self.webs, *(worker for worker in self.workers if worker not in self.webs)]

    def start_ended(self) -> None:
        """Start what is down, and wait until it works."""
        for program in [self.engine, *self.programs()]:
            if not program.runs:
                program.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until every web replica answers, and sees every service."""
        for web in self.webs:
            api = Api([self.ports[web.name]])
            wait_until(lambda api=api, web=web: _is_ready(api, web), f"{web.name} is ready; {self.folder}", _READY_S)  # type: ignore[misc] # early binding

    def close(self) -> None:
        """End everything and remove the folder."""
        for program in [*self.programs(), self.engine]:
            if program.runs:
                program.kill()
        self.database.close()
        databases.remove(self.folder)
