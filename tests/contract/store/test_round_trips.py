"""What calls, claims and renewals cost on a PostgreSQL that is far away."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from tests.contract.store.test_worker_leases import SlowEngine, working
from tests.support.postgres_bed import PostgresBed
from tests.support.postgres_proxy import PostgresProxy
from tests.support.stores import LEASE, StoreBed, query
from tests.support.waiting import wait_until
from tutumd.model import Action, ActionState
from tutumd.ports.queue import Renewal
from tutumd.store.tables.schema import new_uuid

T = TypeVar("T")
RUNS = 16
WARM_UP = 7
"""The driver prepares a statement when it is executed for the sixth time."""


@pytest.fixture
def database_url(postgres_bed: PostgresBed, proxy: PostgresProxy) -> str:
    return proxy.url(postgres_bed.new_database())


@pytest.mark.slow
def test_calls_claims_and_renewals_take_few_round_trips(bed: StoreBed, proxy: PostgresProxy) -> None:
    web, db = bed.handler("web"), bed.handler("db")

    def cost(act: Callable[[], T]) -> tuple[int, T]:
        before = proxy.round_trips
        result = act()
        return proxy.round_trips - before, result

    costs = []
    for _ in range(WARM_UP):
        plain_call, _ = cost(lambda: bed.call(web))
        call, _ = cost(lambda: bed.accepted(db, key=new_uuid()))
        claim, first = cost(bed.claimed)
        claims = [(first, False), (bed.claimed(), False)]
        renewal, renewed = cost(lambda given=claims: bed.queue.renew(given, lease=LEASE))  # type: ignore[misc] # early binding
        assert renewed == [Renewal.RENEWED] * 2
        for each, _ in claims:
            bed.finish(each)
        costs.append((plain_call, call, claim, renewal))
    # The proxy counts the round trips of all connections: the lowest count of several rounds is the operation's own.
    plain_call, call, claim, renewal = map(min, zip(*costs, strict=True))
    assert plain_call == 1
    assert call <= 7
    assert claim <= 6
    assert renewal <= 2


@pytest.mark.nightly
def test_leases_hold_although_the_database_is_far_away(bed: StoreBed, proxy: PostgresProxy, database_url: str) -> None:
    names = [f"s{number}" for number in range(RUNS)]
    bed.show(*names)
    for name in names:
        bed.call(bed.handler(name))
    engine = SlowEngine()
    proxy.delay_s = 0.1
    with working(database_url, engine, lease=LEASE, failing="none") as _:
        wait_until(lambda: len(engine.redeploys) == RUNS, "all run")
        began = datetime.now(UTC)
        wait_until(lambda: datetime.now(UTC) > began + LEASE, "more than a lease goes by")
        proxy.delay_s = 0.0
        assert len(engine.redeploys) == RUNS
        for go_on in engine.redeploys:
            go_on.set()
        wait_until(lambda: not in_state(bed, ActionState.IN_PROGRESS), "all have ended")
    assert len(in_state(bed, ActionState.SUCCESS)) == RUNS


def in_state(bed: StoreBed, state: ActionState) -> list[Action]:
    return [action for action in bed.store.actions(bed.admin, query()).objects if action.state is state]
