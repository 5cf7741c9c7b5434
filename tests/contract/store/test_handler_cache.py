"""The handler cache of the intake is never stale, whoever changes a handler, and forgets nothing else."""

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, LEASE, ORIGIN, StoreBed, call, open_store, query, snapshot
from tutumd.errors import ConflictError, LeaseLostError, NotFoundError
from tutumd.model import Claim, Handler, NewHandler, Outcome, Verb
from tutumd.store.intake.coalesce import CalledHandler
from tutumd.store.intake.handler_lookup import MAX_CACHED, MAX_CHANGES, HandlerCache, find_handlers
from tutumd.store.intake.intake import SqlIntake
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore
from tutumd.store.tables.schema import microseconds
from tutumd.store.tables.services import changed_services, handlers

pytestmark = pytest.mark.dialect


def test_a_failed_batch_is_not_cached(bed: StoreBed) -> None:
    handler = bed.handler("web")
    with bed.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE deliveries RENAME TO away"))
    with pytest.raises(Exception):  # noqa: B017 (the database's own)
        bed.call(handler)
    with bed.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO deliveries"))
    uuid = bed.call(handler)
    assert bed.claimed().action.uuid == uuid


def test_the_cache_is_bounded(bed: StoreBed) -> None:
    handler = bed.handler("web")
    with bed.database.write() as connection:
        (row,) = find_handlers(connection, [call(handler).handler_path], 0, None).values()
    cache = HandlerCache()
    for number in range(MAX_CACHED):
        uuid = f"{number:08x}-0000-4000-8000-000000000000"
        cache.add({uuid: row._replace(uuid=uuid, service_uuid=str(number % 7))})
    assert cache.size == MAX_CACHED
    for _ in range(2):  # the second time as if called below another service
        cache.add({handler.uuid: row})
    assert cache.size == 1
    cache.forget([handler.service_uuid, "never known"])
    assert cache.size == 0


@dataclass
class Edge:
    """What an intake on SQLite remembers, on its own connection."""

    database: Database
    connection: sa.Connection
    now_us: int
    cache: HandlerCache = field(default_factory=HandlerCache)
    remembered: int = 0

    def look_up(self, called: Sequence[Handler]) -> Mapping[str, CalledHandler]:
        """Return the handlers as the edge finds them, which must be as they are."""
        paths = [call(handler).handler_path for handler in called]
        with self.database.write(self.connection) as connection:
            kept = self.cache.find(connection, paths)
            found = find_handlers(connection, paths, self.now_us, self.cache)
            assert found == find_handlers(connection, paths, self.now_us, None)
        self.remembered = len(kept)
        return found


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def bed_on_sqlite(sqlite_url: str) -> Iterator[StoreBed]:
    """A store with the services `web` and `db`."""
    with open_store(sqlite_url) as opened:
        opened.show("web", "db")
        yield opened


@contextmanager
def open_edge(bed: StoreBed, url: str) -> Iterator[Edge]:
    database = Database(url)
    with closing(database.connect()) as connection:
        yield Edge(database, connection, microseconds(bed.clock()))
    database.close()


OTHER_UUID = "'00000000-0000-4000-8000-000000000000'"
CHANGES = [
    *(
        f"UPDATE handlers SET {change}"
        for change in (
            f"uuid = {OTHER_UUID}",
            "seq = 99",
            "name = 'other'",
            "operation = 'SCALEUP'",
            """options = '{"enabled": false}'""",
            "version = 9",
            "uses = 9",
            "rate_tat = 9",
            f"old_uuid = {OTHER_UUID}",
            "old_until = 9",
        )
    ),
    "UPDATE handlers SET service_uuid = (SELECT uuid FROM services WHERE name = 'db')",
    "DELETE FROM handlers",
    "UPDATE services SET engine = 'other'",
    "UPDATE services SET terminated = 1",
    "UPDATE services SET notes = 'it goes back to app:stable'",
    "DELETE FROM services",
    *(
        f"UPDATE actions SET {change}"
        for change in (
            f"uuid = {OTHER_UUID}",
            "seq = 99",
            "verb = 'SCALEUP'",
            "state = 'Canceled'",
            "open = 0",
            "created = 9",
            "skip_unchanged = 1",
        )
    ),
    "DELETE FROM actions",
    *(f"UPDATE action_holds SET {change}" for change in ("action_seq = 99", "kind = 'hold'", "until = 9")),
    "DELETE FROM action_holds",
]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_another_process_changes_of_a_cached_row_is_seen(
    bed_on_sqlite: StoreBed, sqlite_url: str, change: str
) -> None:
    handler = bed_on_sqlite.handler("web")
    debounced = bed_on_sqlite.handler("web", debounce=10)
    bed_on_sqlite.accepted(debounced, bed_on_sqlite.evaluate(debounced, debounce_s=10))
    bed_on_sqlite.store.delete_handler(bed_on_sqlite.admin, debounced.service_uuid, debounced.uuid)
    with open_edge(bed_on_sqlite, sqlite_url) as edge:
        before = edge.look_up([handler])
        edge.look_up([handler])
        assert (len(before), edge.remembered) == (1, 1)
        # As the program `sqlite3` does, which keeps no foreign keys.
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(change)
        assert edge.look_up([handler]) != before


def test_an_action_that_another_process_opens_is_seen(bed_on_sqlite: StoreBed, sqlite_url: str) -> None:
    handler = bed_on_sqlite.handler("web")
    with open_edge(bed_on_sqlite, sqlite_url) as edge:
        edge.look_up([handler])
        action = bed_on_sqlite.call(handler)
        assert edge.look_up([handler])[handler.uuid].action_uuid == action
        bed_on_sqlite.claim()
        assert edge.look_up([handler])[handler.uuid].action_uuid is None


def test_what_a_worker_writes_during_a_run_makes_nobody_forget(bed_on_sqlite: StoreBed, sqlite_url: str) -> None:
    bed = bed_on_sqlite
    handlers_called = [bed.handler("web"), bed.handler("db", enabled=True, debounce=5)]
    bed.call(handlers_called[0])
    claim = bed.claimed()
    with open_edge(bed, sqlite_url) as edge:
        edge.look_up(handlers_called)
        bed.queue.register("worker", [ENGINE])
        bed.queue.renew([(claim, False)], lease=LEASE)
        bed.queue.save_journal(claim, {"phase": "pulling"})
        bed.queue.add_log_line(claim, "pulling")
        bed.queue.save_target(claim, 3)
        bed.sync(snapshot("web", containers=5), snapshot("db", containers=1))
        bed.count_deliveries()
        bed.queue.retry_later(claim, delay=timedelta(seconds=5), error="later")
        bed.finish(claim)
        edge.look_up(handlers_called)
        assert edge.remembered == len(handlers_called)


@pytest.mark.parametrize("changes", [MAX_CHANGES - 1, MAX_CHANGES * 11 // 10])
def test_an_edge_that_is_too_far_behind_forgets_everything(
    bed_on_sqlite: StoreBed, sqlite_url: str, changes: int
) -> None:
    web, db = bed_on_sqlite.handler("web"), bed_on_sqlite.handler("db")
    bed_on_sqlite.call(db)
    with open_edge(bed_on_sqlite, sqlite_url) as edge:
        edge.look_up([web, db])
        with bed_on_sqlite.database.write() as connection:
            for uses in range(changes):
                renamed = sa.update(handlers).values(uses=uses).where(handlers.c.uuid == web.uuid)
                connection.execute(renamed)
            logged = connection.execute(sa.select(sa.func.count()).select_from(changed_services)).scalar_one()
        assert MAX_CHANGES <= logged < MAX_CHANGES * 11 // 10
        edge.look_up([web, db])
        assert edge.remembered == (1 if changes < MAX_CHANGES else 0)


class RandomWriter:
    """Does what edges, workers and users do, in any order, on connections of its own."""

    def __init__(self, bed: StoreBed, seed: int) -> None:
        self._database = Database(bed.database.url.render_as_string(hide_password=False))
        self._bed = replace(
            bed,
            database=self._database,
            store=SqlStore(self._database, bed.clock, Wakeup()),
            intake=SqlIntake(self._database, bed.clock, Wakeup()),
            queue=SqlQueue(self._database, bed.clock, Wakeup()),
        )
        self._random = random.Random(seed)
        self._seed = seed
        self._claims: list[Claim] = []

    def run(self, steps: int) -> None:
        for step in range(steps):
            try:
                handler = self._handler(step)
                self._random.choice(self._ways(handler))()
            except (NotFoundError, ConflictError, LeaseLostError):
                pass  # another writer was quicker
        self._bed.intake.close()
        self._database.close()

    def _ways(self, handler: Handler) -> Sequence[Callable[[], object]]:
        bed, service = self._bed, handler.service_uuid
        return (
            *[lambda: bed.send(handler)] * 4,
            *[lambda: self._claims.extend(filter(None, [bed.claim()]))] * 3,
            *[self._finish] * 3,
            lambda: self._change(handler, rate_limit="9/day"),
            lambda: self._change(handler),
            lambda: bed.store.rotate_handler(bed.admin, service, handler.uuid, bed.clock()),
            lambda: bed.store.delete_handler(bed.admin, service, handler.uuid),
            lambda: self._submit(service, Verb.REDEPLOY, Verb.STOP, Verb.TERMINATE),
        )

    def _handler(self, step: int) -> Handler:
        """Return a handler of any service. There are always at least two services with three handlers."""
        alive = self._bed.store.services(self._bed.admin, query()).objects
        if len(alive) < 2:
            shown = [snapshot(service.name) for service in alive] + [snapshot(f"new-{self._seed}-{step}")]
            self._bed.queue.sync(ENGINE, shown, revisions=self._bed.queue.revisions(ENGINE.name))
        service = self._random.choice(self._bed.store.services(self._bed.admin, query()).objects)
        found = self._bed.store.handlers(self._bed.admin, service.uuid, query()).objects
        return self._random.choice(found) if len(found) > 2 else self._bed.handler(service.name)

    def _change(self, handler: Handler, **options: object) -> None:
        wanted = NewHandler(operation=handler.operation, options=options)
        self._bed.store.change_handler(self._bed.admin, handler.service_uuid, handler.uuid, lambda _: wanted)

    def _submit(self, service: str, *verbs: Verb) -> None:
        self._bed.store.submit(self._bed.admin, service, self._random.choice(verbs), target=None, origin=ORIGIN)

    def _finish(self) -> None:
        if self._claims:
            outcome = Outcome(success=self._random.random() < 0.8)
            self._bed.queue.finish(self._claims.pop(0), outcome, None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_cached_lookup_is_as_an_uncached_one_whatever_two_writers_do(
    bed_on_sqlite: StoreBed, sqlite_url: str, seed: int
) -> None:
    bed, kept, called = bed_on_sqlite, 0, list[Handler]()
    with ThreadPoolExecutor(2) as pool, open_edge(bed, sqlite_url) as edge:
        writers = [pool.submit(RandomWriter(bed, 10 * seed + number).run, 80) for number in range(2)]
        while not all(writer.done() for writer in writers):
            for service in bed.store.services(bed.admin, query()).objects:
                with suppress(NotFoundError):  # it is being terminated
                    called += bed.store.handlers(bed.admin, service.uuid, query()).objects
            called = called[-30:]  # deleted ones, too
            for _ in range(3):
                edge.look_up(called)
                kept += edge.remembered
        for writer in writers:
            writer.result()
    assert kept
