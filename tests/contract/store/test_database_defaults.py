"""Defaults of a PostgreSQL server, database or user that would break promises do not count."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread

import pytest
import sqlalchemy as sa

from tests.support.postgres_bed import PostgresBed
from tests.support.stores import ENGINE, accept, call, open_store, second_intake
from tests.support.waiting import wait_until
from tutumd.model import Accepted, Claim, Operation
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.services import engines

SETTINGS = ("default_transaction_isolation = 'repeatable read'", "default_transaction_isolation = 'serializable'")


@pytest.fixture
def database_url(postgres_bed: PostgresBed) -> str:
    return postgres_bed.new_database()


def name_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_call_that_waited_for_a_claim_causes_another_run(
    postgres_bed: PostgresBed, database_url: str, setting: str
) -> None:
    postgres_bed.query(f"ALTER DATABASE {name_of(database_url)} SET {setting}")
    with open_store(database_url) as bed:
        bed.show("web")
        handler = bed.handler("web", Operation.SCALEUP)
        first = bed.call(handler, 1)
        waiting: Future[Accepted] = Future()
        claimed: list[Claim | None] = []

        def call_before_the_claim_commits(connection: sa.Connection) -> None:
            if not claimed_by(connection) or waiting.running() or waiting.done():
                return
            waiting.set_running_or_notify_cancel()
            Thread(target=lambda: waiting.set_result(accept(other, call(handler, 2)).result(120))).start()
            wait_until(bed.is_waiting_for_a_lock, "the call waits for the service")

        with second_intake(bed, database_url) as other:
            sa.event.listen(bed.database._engine, "commit", call_before_the_claim_commits)
            claimed.append(bed.claim())
            second = waiting.result(120).action_uuid
        assert claimed[0] is not None
        assert claimed[0].action.uuid == first
        assert second != first
        bed.finish(claimed[0])
        assert bed.queue.amounts(bed.claimed()) == ((2, None),)


def claimed_by(connection: sa.Connection) -> bool:
    statement = sa.text("SELECT count(*) FROM actions WHERE state = 'In progress'")
    return bool(connection.execute(statement).scalar())


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["DATABASE {name}", "ROLE tutumd"])
@pytest.mark.parametrize(
    "setting", [*SETTINGS, "default_transaction_read_only = on", "default_transaction_deferrable = on"]
)
def test_transactions_read_what_is_committed_and_may_write(
    postgres_bed: PostgresBed, database_url: str, whose: str, setting: str
) -> None:
    target = whose.format(name=name_of(database_url))
    postgres_bed.query(f"ALTER {target} SET {setting}")
    try:
        with open_store(database_url) as bed:
            bed.show("web")
            for transaction in (bed.database.read, bed.database.write):
                with transaction() as connection:
                    assert connection.execute(sa.text("SHOW transaction_isolation")).scalar() == "read committed"
                    assert connection.execute(sa.text("SHOW transaction_read_only")).scalar() == "off"
            assert bed.call(bed.handler("web"))
    finally:
        postgres_bed.query(f"BEGIN READ WRITE; ALTER {target} RESET {setting.partition(' ')[0]}; COMMIT")


def test_workers_that_start_at_once_register_their_engines(database_url: str) -> None:
    with open_store(database_url) as bed:
        with bed.database.write() as connection:
            connection.execute(sa.delete(engines))
        database = Database(database_url)
        other = SqlQueue(database, bed.clock, Wakeup())
        registered: list[Future[None]] = []

        def register_before_the_first_commits(_connection: sa.Connection) -> None:
            registered.append(pool.submit(other.register, "second", [ENGINE]))
            wait_until(bed.is_waiting_for_a_lock, "the second worker waits for the first")

        sa.event.listen(bed.database._engine, "commit", register_before_the_first_commits, once=True)
        with ThreadPoolExecutor(1) as pool:
            bed.queue.register("first", [ENGINE])
            registered[0].result(120)
        database.close()
        assert [engine.name for engine in bed.store.engines()] == [ENGINE.name]
