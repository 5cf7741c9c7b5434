"""The handler cache of the intake is never stale, whoever changes a handler."""

from collections.abc import Sequence
from concurrent.futures import Future

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, call
from tutumd.model import EvaluationNeeded, NewHandler
from tutumd.ports.intake import CallResult
from tutumd.store.handler_lookup import MAX_CACHED, HandlerCache, find_handlers


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


def test_a_cached_handler_knows_the_action_that_its_call_opened(bed: StoreBed) -> None:
    handler = bed.handler("web")
    first = bed.accepted(handler).action_uuid
    assert bed.accepted(handler).action_uuid == bed.accepted(handler).action_uuid == first


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
