"""Databases to measure on, filled through the store's own tables."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from tests.support.stores import is_postgres
from tutumd.model import ActionState, DeliveryOutcome, Operation, Origin, Verb
from tutumd.store.objects.actions import new_action
from tutumd.store.sql.database import Database
from tutumd.store.tables.actions import actions, deliveries
from tutumd.store.tables.schema import meta, new_uuid
from tutumd.store.tables.services import handlers, services
from tutumd.store.tables.upgrade import upgrade
from tutumd.store.upkeep import delivery_log

_ENGINE = "nowhere"
"""No worker serves it. Queued actions stay pending, so that only the call path is measured."""
_CHUNK = 10_000
_ORIGIN = Origin(address="192.0.2.1", user_agent="Docker-Hub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is in a database."""

    services: int
    handlers: int
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A handler that can be called."""

    service_uuid: str
    handler_uuid: str

    @property
    def path(self) -> str:
        return f"/api/v1/service/{self.service_uuid}/webhook/handler/{self.handler_uuid}/call/"


def fill(url: str, size: Size) -> list[Called]:
    """Make the schema and fill it; return the handlers in the order of their services."""
    database = Database(url)
    now = datetime.now(UTC)
    try:
        upgrade(database)
        service_uuids = [new_uuid() for _ in range(size.services)]
        _insert(database, services, (_service(uuid, number, now) for number, uuid in enumerate(service_uuids)))
        each = size.handlers // size.services
        called = [Called(service_uuid=uuid, handler_uuid=new_uuid()) for uuid in service_uuids for _ in range(each)]
        _insert(database, handlers, (_handler(one, number, now) for number, one in enumerate(called)))
        if size.deliveries:
            per_action = max(1, size.deliveries // len(called))
            _insert(database, actions, (_past_action(one, now) for one in called))
            # Rows are numbered from 1 in the order in which they were inserted.
            _insert(
                database,
                deliveries,
                (
                    _delivery(number, now - timedelta(days=1) + timedelta(seconds=nth))
                    for number in range(1, len(called) + 1)
                    for nth in range(per_action)
                ),
            )
            # As a server leaves them that has run for a while: counted in their handlers.
            with database.write() as connection:
                connection.execute(sa.update(handlers).values(calls=per_action, last_called=now))
                made = connection.execute(sa.select(sa.func.max(deliveries.c.seq))).scalar_one()
                connection.execute(sa.insert(meta).values(key=delivery_log.KEY, value=str(made)))
                ends = {"first_delivery": (actions.c.seq - 1) * per_action, "last_delivery": actions.c.seq * per_action}
                connection.execute(sa.update(actions).values(ends))
        if is_postgres(database):
            with database.write() as connection:
                connection.execute(sa.text("ANALYZE"))
    finally:
        database.close()
    return called


def _insert(database: Database, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    for chunk in _chunks(iter(rows)):
        with database.write() as connection:
            connection.execute(sa.insert(table), chunk)


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _service(uuid: str, number: int, now: datetime) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "engine": _ENGINE,
        "engine_kind": "docker",
        "selector": f"name:bench-{number}",
        "name": f"bench-{number}",
        "full_name": f"bench-{number}",
        "stack": "",
        "bound": True,
        "terminated": False,
        "state": "Running",
        "target": 1,
        "running": 1,
        "stopped": 0,
        "image_name": "example/app:latest",
        "run_command": "",
        "warnings": [],
        "created": now,
        "fingerprint": "",
    }


def _handler(one: Called, number: int, now: datetime) -> dict[str, Any]:
    return {
        "uuid": one.handler_uuid,
        "service_uuid": one.service_uuid,
        "name": f"hook-{number}",
        "operation": Operation.REDEPLOY.value,
        "created": now,
    }


def _past_action(one: Called, now: datetime) -> dict[str, Any]:
    then = now - timedelta(days=1)
    row = new_action(one.service_uuid, _ENGINE, Verb.REDEPLOY, origin=_ORIGIN, now=then)
    return {**row, "state": ActionState.SUCCESS.value, "open": False, "started": then, "ended": then}


def _delivery(number: int, received: datetime) -> dict[str, Any]:
    return {
        "handler_seq": number,
        "action_seq": number,
        "amount": 1,
        "received": received,
        "address": _ORIGIN.address,
        "user_agent": _ORIGIN.user_agent,
        "body_size": 256,
        "outcome": DeliveryOutcome.JOINED.value,
    }
