"""The handler cache of the intake is never stale, whoever changes a handler."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, accept, call, open_store, second_intake
from tutumd.errors import NotFoundError
from tutumd.model import EvaluationNeeded, NewHandler, Operation
from tutumd.ports import CallResult
from tutumd.store.database import Database
from tutumd.store.handler_lookup import MAX_CACHED, HandlerCache, find_handlers
from tutumd.store.store import SqlStore
from tutumd.store.wakeup import Wakeup


@pytest.fixture
def bed(database_url: str) -> Iterator[StoreBed]:
    with open_store(database_url) as opened:
        opened.show("web", "db")
        yield opened


@contextmanager
def other_process(bed: StoreBed, url: str) -> Iterator[SqlStore]:
    database = Database(url)
    try:
        yield SqlStore(database, bed.clock, Wakeup())
    finally:
        database.close()


def test_a_cached_handler_is_revoked_by_another_process(bed: StoreBed, database_url: str) -> None:
    handler, other = bed.handler("web"), bed.handler("web")
    for _ in range(3):
        bed.call(handler)
    with other_process(bed, database_url) as store:
        store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    with pytest.raises(NotFoundError):
        bed.call(handler)
    bed.call(other)


def test_a_cached_handler_gets_options(bed: StoreBed) -> None:
    handler = bed.handler("web")
    for _ in range(3):
        bed.call(handler)
    wanted = NewHandler(operation=handler.operation, options={"enabled": False})
    bed.store.change_handler(bed.admin, handler.service_uuid, handler.uuid, lambda _: wanted)
    stored: Future[Sequence[CallResult]] = Future()
    bed.intake.store([call(handler)], stored.set_result)
    (result,) = stored.result(10)
    assert isinstance(result, EvaluationNeeded)


def test_a_call_after_a_claim_causes_one_more_run(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.call(handler)
    assert bed.call(handler) == first
    assert bed.claimed().action.uuid == first
    second = bed.call(handler)
    assert second != first
    assert bed.call(handler) == second


def test_two_intakes_join_the_same_action_in_turn(bed: StoreBed, database_url: str) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    with second_intake(bed, database_url) as other:
        joined = {
            accept(intake, call(handler)).result(10).action_uuid for _ in range(5) for intake in (bed.intake, other)
        }
    assert len(joined) == 1
    assert bed.queue.amounts(bed.claimed()) == ((1, None),) * 10


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
        (row,) = find_handlers(connection, [call(handler)], 0, None).values()
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
