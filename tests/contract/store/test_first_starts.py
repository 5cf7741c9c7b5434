"""Processes that start at the same time on an empty database insert the same rows, and none of them fails."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, MovedClock, is_postgres, snapshot
from tutumd.errors import ConflictError
from tutumd.model import Definition, EngineInfo
from tutumd.store.queue.engine_sync import SYNC_BATCH
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore
from tutumd.store.tables.schema import meta
from tutumd.store.tables.services import engines, services
from tutumd.store.tables.upgrade import upgrade

pytestmark = pytest.mark.dialect

PROCESSES, ROUNDS = 4, 8
OTHER = EngineInfo(name="swarm", kind="swarm", can_create=False)
TABLES = (engines, meta, services)


@dataclass
class Processes:
    """Workers, each with its own connections to one database."""

    databases: list[Database]
    queues: list[SqlQueue]

    def all_at_once(self, work: Callable[[SqlQueue], object]) -> list[object]:
        """Let each worker do the same at the same time, and return what each returned."""
        together = threading.Barrier(PROCESSES)

        def begin(queue: SqlQueue) -> object:
            together.wait(120)
            return work(queue)

        with ThreadPoolExecutor(PROCESSES) as pool:
            return [done.result(60) for done in [pool.submit(begin, queue) for queue in self.queues]]

    def empty(self) -> None:
        with self.databases[0].write() as connection:
            for table in TABLES:
                connection.execute(sa.delete(table))

    def rows(self, table: sa.Table) -> int:
        with self.databases[0].read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


@pytest.fixture
def processes(database_url: str) -> Iterator[Processes]:
    clock = MovedClock()
    with ExitStack() as stack:
        databases = [Database(database_url) for _ in range(PROCESSES)]
        for database in databases:
            stack.callback(database.close)
        upgrade(databases[0])
        yield Processes(databases, [SqlQueue(database, clock, Wakeup()) for database in databases])


@pytest.mark.usefixtures("patient_locks")
def test_workers_that_register_at_once_for_the_first_time_all_do(processes: Processes) -> None:
    for _ in range(ROUNDS):
        processes.empty()
        processes.all_at_once(lambda queue: queue.register(str(id(queue)), [OTHER, ENGINE]))
        assert processes.rows(engines) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("patient_locks")
def test_first_looks_at_once_store_each_service_once_and_under_one_installation(processes: Processes) -> None:
    shown = [snapshot(f"s{number:02}") for number in range(SYNC_BATCH + 5)]
    queue = processes.queues[0]
    for _ in range(ROUNDS):
        processes.empty()
        processes.all_at_once(lambda queue: queue.sync(ENGINE, shown, revisions={}))
        assert (processes.rows(services), processes.rows(meta)) == (len(shown), 1)
        assert queue.sync(ENGINE, shown, revisions=queue.revisions(ENGINE.name)), "there is nothing left to store"


@pytest.mark.slow
@pytest.mark.usefixtures("patient_locks")
def test_of_services_that_are_created_with_the_same_name_at_once_one_is(processes: Processes) -> None:
    queue = processes.queues[0]
    queue.register("worker", [ENGINE])
    stores = dict(
        zip(processes.queues, [SqlStore(d, MovedClock(), Wakeup()) for d in processes.databases], strict=True)
    )

    admin = next(iter(stores.values())).add_user("ann", is_admin=True)

    def create(queue: SqlQueue) -> bool:
        try:
            stores[queue].create_service(
                admin, engine=ENGINE.name, name="web", image="", definition=Definition(command="true"), target=1
            )
        except ConflictError:
            return False
        return True

    for _ in range(ROUNDS):
        assert sum(map(bool, processes.all_at_once(create))) == 1
        with processes.databases[0].write() as connection:
            connection.execute(sa.delete(services))


@pytest.mark.slow
def test_a_look_that_meets_a_locked_service_is_repeated_and_stores_the_rest(processes: Processes) -> None:
    queue, other = processes.queues[0], processes.databases[1]
    # They are stored in batches.
    names = ["a-held", *(f"other-{number}" for number in range(SYNC_BATCH)), "z-free"]
    shown = list(map(snapshot, names))
    assert queue.sync(ENGINE, shown, revisions={})
    revisions = queue.revisions(ENGINE.name)
    changed = [snapshot(name, containers=3) for name in names]
    if is_postgres(other):  # on SQLite a transaction holds everything
        with other.write() as connection:
            held = sa.select(services.c.uuid).where(services.c.name == "a-held")
            connection.execute(held.with_for_update()).all()
            assert not queue.sync(ENGINE, changed, revisions=revisions)
            free = sa.select(services.c.running).where(services.c.name == "z-free")
            assert connection.execute(free).scalar_one() == 3
    assert queue.sync(ENGINE, changed, revisions=revisions)
