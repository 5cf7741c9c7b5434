"""Clocks of machines that differ or are set: neither leases nor due times depend on them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.support.postgres_bed import PostgresBed
from tests.support.stores import LEASE, StoreBed, open_store
from tests.support.waiting import wait_until
from tutumd.application import health
from tutumd.boottime import boottime_s
from tutumd.ports.queue import Renewal
from tutumd.store.queue.leases import boot_clock
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.postgres_listener import MAX_READ_S, Listener, SharedClock, database_clock
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.schema import meta

pytestmark = pytest.mark.dialect

APART_S = 300.0


def ahead(seconds: float) -> Callable[[], float]:
    return lambda: boottime_s() + seconds


@pytest.fixture
def postgres_store(postgres_bed: PostgresBed) -> Iterator[StoreBed]:
    """A store that several machines can use."""
    with open_store(postgres_bed.new_database()) as opened:
        opened.show("web")
        yield opened


@pytest.fixture
def machines(postgres_store: StoreBed) -> tuple[SharedClock, SharedClock]:
    """The clocks of processes on two machines, whose own clocks differ."""
    return database_clock(postgres_store.database), database_clock(postgres_store.database, ahead(APART_S))


def test_machines_with_different_clocks_share_the_time_of_the_database(
    machines: tuple[SharedClock, SharedClock],
) -> None:
    first, second = machines
    error = timedelta(seconds=MAX_READ_S)
    assert second() - error <= first() <= second() + error
    assert datetime.now(UTC) - error <= first() <= datetime.now(UTC) + error


def test_a_living_worker_keeps_its_action_whatever_another_machines_clock_says(
    postgres_store: StoreBed, machines: tuple[SharedClock, SharedClock]
) -> None:
    queues = [SqlQueue(postgres_store.database, clock, Wakeup()) for clock in machines]
    postgres_store.call(postgres_store.handler("web"))
    for first, second in (queues, reversed(queues)):
        claim = first.claim("first", ["docker"], lease=LEASE)
        assert claim is not None
        assert second.claim("second", ["docker"], lease=LEASE) is None
        assert first.renew([(claim, False)], lease=LEASE) == [Renewal.RENEWED]
        assert second.claim("second", ["docker"], lease=LEASE) is None
        first.release(claim)


def test_readiness_goes_by_the_time_of_the_database(
    postgres_store: StoreBed, machines: tuple[SharedClock, SharedClock]
) -> None:
    SqlQueue(postgres_store.database, machines[1], Wakeup()).register("worker", postgres_store.store.engines())
    assert health.check(postgres_store.store, postgres_store.intake, machines[0]).status == "ready"


def test_a_clock_follows_the_database_again_when_it_was_wrong(
    postgres_store: StoreBed, machines: tuple[SharedClock, SharedClock]
) -> None:
    clock = SharedClock(datetime(2000, 1, 1, tzinfo=UTC))
    listener = Listener(postgres_store.database.url, Wakeup(), clock)
    try:
        wait_until(lambda: abs(clock() - machines[0]()) < timedelta(seconds=1), "the clock is right")
    finally:
        listener.close()


def test_a_lease_outlives_a_clock_that_is_set(bed: StoreBed) -> None:
    queue = SqlQueue(bed.database, bed.clock, Wakeup(), boot_clock(bed.database))
    bed.call(bed.handler("web"))
    assert queue.claim("first", ["docker"], lease=LEASE) is not None
    for hours in (1, -2):
        bed.clock.move(hours * 3600)
        assert queue.claim("second", ["docker"], lease=LEASE) is None


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-2, -0.01, 1])
def test_a_clock_that_is_set_neither_ends_nor_extends_the_wait_for_another_try(bed: StoreBed, hours: float) -> None:
    boot_s = [1_000.0]
    leases = boot_clock(bed.database, lambda: boot_s[0])
    queue = SqlQueue(bed.database, bed.clock, Wakeup(), leases)
    action = bed.call(bed.handler("web"))
    for attempts in range(3):
        claim = queue.claim("worker", ["docker"], lease=LEASE)
        assert claim is not None
        assert (claim.action.uuid, claim.attempts) == (action, attempts)
        queue.retry_later(claim, delay=timedelta(seconds=15), error="away")
        bed.clock.move(hours * 3600)
        boot_s[0] += 14
        assert queue.claim("worker", ["docker"], lease=LEASE) is None
        boot_s[0] += 1


def test_a_clock_of_the_database_that_is_set_back_keeps_no_action_for_long(bed: StoreBed) -> None:
    """Neither one that a dead worker held, nor one that waits for another try."""
    for name in ("web", "db"):
        bed.call(bed.handler(name))
    bed.claimed()
    bed.queue.retry_later(bed.claimed(), delay=timedelta(seconds=15), error="away")
    bed.clock.move(-3600)
    claims = [bed.queue.claim("second", ["docker"], lease=LEASE) for _ in range(2)]
    assert all(claims)


def test_no_lease_outlives_a_reboot(bed: StoreBed) -> None:
    before = SqlQueue(bed.database, bed.clock, Wakeup(), boot_clock(bed.database, ahead(60)))
    bed.call(bed.handler("web"))
    claim = before.claim("first", ["docker"], lease=LEASE)
    assert claim is not None
    with bed.database.write() as connection:
        connection.execute(sa.update(meta).where(meta.c.key == "boot").values(value="another one"))
    after = SqlQueue(bed.database, bed.clock, Wakeup(), boot_clock(bed.database))
    taken = after.claim("second", ["docker"], lease=LEASE)
    assert taken is not None
    assert taken.deaths == 0, "no action is to blame for a reboot"
    assert before.renew([(claim, False)], lease=LEASE) == [Renewal.LOST]


def test_an_action_from_before_the_clock_was_set_back_is_due(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    bed.clock.move(-3600)
    assert bed.claimed().action.uuid == uuid
