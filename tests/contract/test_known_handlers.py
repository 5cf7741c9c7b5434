"""What the intake remembers of handlers never outlives a change of it, whoever made that."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tests.support.stores import Bench, accept, bench, call, second_intake
from tutumd.errors import NotFoundError
from tutumd.model import EvaluationNeeded, NewHandler, Operation
from tutumd.ports import CallResult
from tutumd.store.database import Database
from tutumd.store.handler_lookup import MAX_CACHED, HandlerCache, find_handlers
from tutumd.store.store import SqlStore
from tutumd.store.wakeup import Wakeup


@pytest.fixture
def b(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as opened:
        opened.show("web", "db")
        yield opened


@contextmanager
def other_process(b: Bench, url: str) -> Iterator[SqlStore]:
    database = Database(url)
    try:
        yield SqlStore(database, b.clock, Wakeup())
    finally:
        database.close()


def test_a_remembered_handler_is_revoked_by_another_process(b: Bench, database_url: str) -> None:
    handler, other = b.handler("web"), b.handler("web")
    for _ in range(3):
        b.call(handler)
    with other_process(b, database_url) as store:
        store.delete_handler(b.admin, handler.service_uuid, handler.uuid)
    with pytest.raises(NotFoundError):
        b.call(handler)
    b.call(other)


def test_a_remembered_handler_gets_options(b: Bench) -> None:
    handler = b.handler("web")
    for _ in range(3):
        b.call(handler)
    wanted = NewHandler(operation=handler.operation, options={"enabled": False})
    b.store.change_handler(b.admin, handler.service_uuid, handler.uuid, lambda _: wanted)
    told: Future[Sequence[CallResult]] = Future()
    b.intake.store([call(handler)], told.set_result)
    (result,) = told.result(10)
    assert isinstance(result, EvaluationNeeded)


def test_a_call_after_a_claim_causes_one_more_run(b: Bench) -> None:
    handler = b.handler("web")
    first = b.call(handler)
    assert b.call(handler) == first
    assert b.claimed().action.uuid == first
    second = b.call(handler)
    assert second != first
    assert b.call(handler) == second


def test_two_intakes_join_the_same_action_in_turn(b: Bench, database_url: str) -> None:
    handler = b.handler("web", Operation.SCALEUP)
    with second_intake(b, database_url) as other:
        joined = {
            accept(intake, call(handler)).result(10).action_uuid for _ in range(5) for intake in (b.intake, other)
        }
    assert len(joined) == 1
    assert b.queue.amounts(b.claimed()) == ((1, None),) * 10


def test_a_batch_that_failed_is_not_remembered(b: Bench) -> None:
    handler = b.handler("web")
    with b.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE deliveries RENAME TO away"))
    with pytest.raises(Exception):  # noqa: B017 (the database's own)
        b.call(handler)
    with b.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO deliveries"))
    uuid = b.call(handler)
    assert b.claimed().action.uuid == uuid


def test_what_is_remembered_is_bounded(b: Bench) -> None:
    handler = b.handler("web")
    with b.database.write() as connection:
        (row,) = find_handlers(connection, [call(handler)], 0, None).values()
    cache = HandlerCache()
    for number in range(MAX_CACHED):
        uuid = f"{number:08x}-0000-4000-8000-000000000000"
        cache.add({uuid: row._replace(uuid=uuid, service_uuid=str(number % 7))})
    assert cache.size == MAX_CACHED
    for _ in range(2):  # the second time, it was called below another service
        cache.add({handler.uuid: row})
    assert cache.size == 1
    cache.forget([handler.service_uuid, "never known"])
    assert cache.size == 0
