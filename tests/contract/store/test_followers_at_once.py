"""Followers with several workers, engines and callers at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import sqlalchemy as sa

from tests.contract.store.test_followers import Layers, service
from tests.contract.store.test_groups import accepted
from tests.support.stores import LEASE, StoreBed, is_postgres, second_intake
from tests.support.waiting import wait_until
from tutumd.model import EngineInfo, Handler, NewHandler
from tutumd.model.groups import GroupAccepted, GroupSelector, OnFailure, Sequence
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.tables.actions import action_predecessors, group_calls

pytestmark = pytest.mark.dialect
CALLS = 40


def test_another_worker_goes_on_after_a_worker_that_dies_between_layers(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db", "proxy": "web"})
    bed.finish(bed.claimed())
    web = bed.queue.claim("other", ["docker"], lease=LEASE)
    assert web is not None
    bed.queue.take_over(["other"])
    assert bed.claimed().action.uuid == shop.uuids["web"]


def test_the_workers_of_the_other_engine_are_woken(bed: StoreBed) -> None:
    cluster = EngineInfo(name="cluster", kind="swarm", hint="")
    bed.queue.register("other", [cluster])
    assert bed.queue.sync(cluster, [service("proxy")], revisions={})
    bed.sync(service("db"))
    uuids = tuple(map(bed.service_uuid, ("db", "proxy")))
    new = NewHandler(selector=GroupSelector(services=uuids), sequence=Sequence.LISTED)
    call = accepted(bed, bed.store.add_handlers(bed.admin, "", [new])[0])
    topics: list[str] = []
    bed.queue._wakeup.send = topics.extend
    bed.finish(bed.claimed())
    assert "cluster" not in topics
    assert bed.claim() is None
    assert "cluster" in topics
    claim = bed.queue.claim("other", ["cluster"], lease=LEASE)
    assert claim is not None
    assert claim.action.uuid == call.lines[1].action_uuid


def test_a_locked_follower_delays_no_other_action(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db", "proxy": "db"})
    bed.finish(bed.claimed())
    if not is_postgres(bed.database):
        return  # a transaction on SQLite is alone
    with bed.database.write() as connection:
        lock_services(connection, [shop["web"].service_uuid])
        connection.execute(sa.select(sa.literal(1)))
        assert bed.claimed().action.uuid == shop.uuids["proxy"]
        assert bed.claim() is None
    assert bed.claimed().action.uuid == shop.uuids["web"]


def test_two_groups_with_opposite_orders_never_stall(bed: StoreBed, database_url: str) -> None:
    bed.show("web", "db", "cache")
    names = ("web", "db", "cache")
    new = [
        NewHandler(
            selector=GroupSelector(services=tuple(map(bed.service_uuid, listed))),
            sequence=Sequence.LISTED,
            on_failure=policy,
        )
        for listed, policy in ((names, OnFailure.CANCEL), (names[::-1], OnFailure.CONTINUE))
    ]
    groups = bed.store.add_handlers(bed.admin, "", new)
    is_over = Event()

    def call(group: Handler) -> list[GroupAccepted]:
        with second_intake(bed, database_url) as intake:
            return [accepted(bed, group, intake=intake) for _ in range(CALLS)]

    def work(worker: str) -> int:
        runs = 0
        while not is_over.is_set():
            if claim := bed.queue.claim(worker, ["docker"], lease=LEASE):
                runs += 1
                bed.finish(claim, success=runs % 5 != 0)
        return runs

    def have_ended() -> bool:
        return all(bed.store.group_call(bed.admin, of_group[-1].number).ended for of_group in called)

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work, name) for name in ("one", "two")]
        try:
            called = list(pool.map(call, groups))
            wait_until(have_ended, "the last calls have ended")
        finally:
            is_over.set()
        runs = sum(each.result() for each in workers)
    assert runs >= len(names)
    with bed.database.read() as connection:
        assert connection.execute(sa.select(action_predecessors)).all() == []
        assert connection.execute(sa.select(group_calls).where(group_calls.c.ended.is_(None))).all() == []
    assert not bed.has_pending_action()
