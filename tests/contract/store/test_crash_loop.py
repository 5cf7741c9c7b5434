"""Containers that come and go by the thousand: storing a service touches few rows, and old ones are deleted."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.stores import StoreBed, snapshot
from tutumd.model import ContainerState, Outcome
from tutumd.store.tables.schema import new_uuid
from tutumd.store.tables.services import containers
from tutumd.store.upkeep import retention

pytestmark = pytest.mark.dialect

MANY = 5_000
KEEP = timedelta(days=90)


def add_gone(bed: StoreBed, service: str, count: int, *, stopped: bool = True) -> None:
    """Let a service have had containers that are gone, each a second after the one before."""
    first = bed.clock.now - timedelta(seconds=count)
    rows: list[dict[str, Any]] = [
        {
            "uuid": new_uuid(),
            "service_uuid": service,
            "object_id": f"gone-{number}",
            "present": False,
            "position": 0,
            "name": "",
            "state": ContainerState.TERMINATED.value,
            "image_name": "",
            "run_command": "",
            "stopped": first + timedelta(seconds=number) if stopped else None,
            "ports": [],
        }
        for number in range(count)
    ]
    with bed.database.write() as connection:
        connection.execute(sa.insert(containers), rows)


@contextmanager
def counted_rows(bed: StoreBed) -> Iterator[list[int]]:
    """Collect how many rows each SELECT of containers returns, and each other statement changes."""
    counts: list[int] = []

    def count(connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if "containers" in statement and statement.startswith("SELECT"):
            driver = connection.connection.driver_connection
            counts.append(len(driver.execute(statement, parameters).fetchall()))
        elif "containers" in statement:
            counts.append(cursor.rowcount)

    sa.event.listen(bed.database._engine, "after_cursor_execute", count)
    try:
        yield counts
    finally:
        sa.event.remove(bed.database._engine, "after_cursor_execute", count)


def gone_of(bed: StoreBed, service: str) -> set[str]:
    with bed.database.read() as connection:
        of_service = sa.and_(containers.c.service_uuid == service, sa.not_(containers.c.present))
        return set(connection.execute(sa.select(containers.c.object_id).where(of_service)).scalars())


def test_storing_a_service_in_a_crash_loop_touches_only_what_changed(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    add_gone(bed, web, MANY)
    with counted_rows(bed) as counts:
        bed.sync(snapshot("web", prefix="n"), snapshot("db"))
        outcome = Outcome(success=True, containers_before=("web-c1", "unknown"), containers_after=("web-n1", "gone-7"))
        bed.queue.finish(claim, outcome, snapshot("web", prefix="m"))
        bed.show("db")
    assert counts
    assert max(counts) <= 4
    action = bed.store.action(bed.admin, claim.action.uuid)
    assert len({*action.containers_before, *action.containers_after}) == 4


def test_a_container_that_comes_back_before_its_deletion_stays(bed: StoreBed) -> None:
    web = bed.service_uuid("web")
    returning = bed.store.service(bed.admin, web).containers
    with bed.database.write() as connection:
        retention.delete(connection, {containers: [(uuid,) for uuid in returning]})
    assert bed.store.service(bed.admin, web).containers == returning


def test_a_container_that_only_an_action_named_is_deleted_in_its_time(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    bed.queue.finish(claim, Outcome(success=True, containers_before=("once", "once")), snapshot("web"))
    assert gone_of(bed, claim.service.uuid) == {"once"}
    bed.clock.move((KEEP + timedelta(days=1)).total_seconds())
    bed.queue.prune(KEEP, 500)
    assert gone_of(bed, claim.service.uuid) == set()
