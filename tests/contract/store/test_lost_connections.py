"""PostgreSQL connections that are lost or blocked at the worst moment."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
import sqlalchemy as sa

from tests.support.postgres_bed import PostgresBed
from tests.support.stores import LEASE, StoreBed, call, open_store
from tests.support.waiting import wait_until
from tutumd.errors import LockedError, ReadOnlyError, UnavailableError
from tutumd.model import Accepted, Handler, Operation
from tutumd.ports.intake import CallResult
from tutumd.ports.queue import Renewal
from tutumd.store.queue.leases import renew_claims, update_claimed
from tutumd.store.queue.snapshots import lock_services
from tutumd.store.sql.database import Database
from tutumd.store.sql.faults import explain
from tutumd.store.sql.postgres_listener import Listener, database_clock
from tutumd.store.sql.wakeup import Wakeup

pytestmark = pytest.mark.dialect


@pytest.fixture
def database_url(postgres_bed: PostgresBed) -> str:
    return postgres_bed.new_database()


def at(bed: StoreBed, event: str, number: int, act: Callable[..., None]) -> None:
    """Call `act` at the next event of this kind on the database's connections (number 1), or at a later one."""
    left = [number]

    def count(*arguments: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            act(*arguments)

    sa.event.listen(bed.database._engine, event, count)


def lose_connection_after_commit(connection: sa.Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.commit()
    driver.close()


def lose_connection_before_commit(connection: sa.Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.close()


def test_a_call_whose_commit_was_not_confirmed_is_accepted_if_it_was_stored(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    at(bed, "commit", 1, lose_connection_after_commit)
    action = bed.call(handler, 3)
    assert bed.queue.amounts(bed.claimed()) == ((3, None),)
    assert bed.store.action(bed.admin, action).deliveries == 1


def test_a_call_whose_commit_was_not_confirmed_is_refused_if_it_was_not_stored(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    at(bed, "commit", 1, lose_connection_before_commit)
    with pytest.raises(UnavailableError, match="nothing was changed"):
        bed.call(handler, 3)
    assert bed.claim() is None
    bed.call(handler, 2)
    assert bed.queue.amounts(bed.claimed()) == ((2, None),)


def crash(bed: PostgresBed, numbers: list[int], connection: sa.Connection, *, reuses_number: bool) -> None:
    """Crash the server before a transaction is committed; after that, others may get the transaction's number.

    Args:
        numbers: Gets the number of the transaction, and those of the others.
    """
    numbers.append(int(connection.execute(sa.text("SELECT pg_current_xact_id()::text")).scalar_one()))
    bed.stop_server(signal.SIGQUIT)
    bed.start_server()
    while reuses_number and (len(numbers) == 1 or numbers[-1] < numbers[0]):
        numbers.append(int(bed.query("SELECT pg_current_xact_id()")))


@pytest.mark.slow
@pytest.mark.parametrize("reuses_number", [True, False])
def test_a_call_that_postgresql_lost_in_a_crash_is_not_accepted(
    bed: StoreBed, postgres_bed: PostgresBed, reuses_number: bool
) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    numbers: list[int] = []
    at(bed, "commit", 1, partial(crash, postgres_bed, numbers, reuses_number=reuses_number))
    result = bed.send(handler, amount=3)
    assert isinstance(result, UnavailableError)
    # If the WAL writer has written the number before the crash, nobody else gets it, and it is known to be aborted.
    assert ("look whether" if numbers[0] in numbers[1:] else "nothing was changed") in str(result)
    wait_until(lambda: bed.intake.failing_s() is None, "calls can be stored again")
    assert bed.claim() is None
    assert bed.outcomes(handler) == []


def test_a_worker_whose_claim_was_not_confirmed_has_it_all_the_same(bed: StoreBed) -> None:
    action = bed.call(bed.handler("web"))
    # The first commit is that of the look before the claim.
    at(bed, "commit", 2, lose_connection_after_commit)
    assert bed.claimed().action.uuid == action


def test_an_action_whose_lease_is_renewed_while_it_is_claimed_is_not_taken_over(
    bed: StoreBed, database_url: str
) -> None:
    bed.call(bed.handler("web"))
    held = bed.claimed()
    bed.clock.move(LEASE.total_seconds() + 1)
    database = Database(database_url)
    with ThreadPoolExecutor(1) as pool:
        with database.write() as holder:
            assert renew_claims(holder, [(held, False)], bed.clock() + LEASE) == [Renewal.RENEWED]
            claiming = pool.submit(bed.claim)
            wait_until(bed.is_waiting_for_a_lock, "the claim waits for the renewal")
        assert claiming.result(120) is None
    database.close()
    assert bed.renew(held) is Renewal.RENEWED


def test_an_action_that_a_stopped_process_holds_keeps_no_other_lease_from_being_renewed(
    bed: StoreBed, database_url: str
) -> None:
    bed.call(bed.handler("web"))
    bed.call(bed.handler("db"))
    claims = [bed.claimed(), bed.claimed()]
    database = Database(database_url)
    with database.write() as stopped:
        update_claimed(stopped, claims[0], cancel=False)
        try:
            renewals = bed.queue.renew([(claim, False) for claim in claims], lease=LEASE)
        except LockedError:
            pytest.fail("an action that is held keeps the other lease from being renewed")
    database.close()
    assert renewals == [Renewal.BUSY, Renewal.RENEWED]


@contextmanager
def stopped_with_a_lock_on(url: str, service_uuid: str) -> Iterator[None]:
    """A process that is stopped while a transaction of it has locked a service."""
    database = Database(url)
    try:
        with database.write() as connection:
            lock_services(connection, [service_uuid])
            connection.execute(sa.select(1))  # which locks it
            yield
    finally:
        database.close()


@pytest.mark.slow
def test_a_service_locked_by_a_stopped_process_delays_no_other(bed: StoreBed, database_url: str) -> None:
    web, db = bed.handler("web"), bed.handler("db", Operation.SCALEUP)
    results: Future[Sequence[CallResult]] = Future()
    with stopped_with_a_lock_on(database_url, web.service_uuid):
        bed.intake.store([call(web), call(db, 3), call(web), call(db, 4)], results.set_result)
        first, second, third, fourth = results.result(120)
    assert isinstance(first, LockedError)
    assert isinstance(third, LockedError)
    assert isinstance(second, Accepted)
    assert isinstance(fourth, Accepted)
    claim = bed.claimed()
    assert bed.queue.amounts(claim) == ((7, None),)
    assert bed.claim() is None
    bed.call(web)


def test_a_primary_that_became_a_standby_refuses_calls_until_it_is_promoted(
    bed: StoreBed, postgres_bed: PostgresBed
) -> None:
    handler = bed.handler("web")
    postgres_bed.become_standby()
    try:
        result = bed.send(handler)
        assert isinstance(result, UnavailableError)
        wait_until(lambda: isinstance(bed.send(handler), ReadOnlyError), "calls are refused by the standby")
        assert explain(refusal(bed))[0].startswith("it is a read-only standby")
    finally:
        postgres_bed.query("SELECT pg_promote()")
    wait_until(lambda: not is_refused(bed, handler), "calls are accepted again")
    assert bed.intake.failing_s() is None


def refusal(bed: StoreBed) -> UnavailableError:
    """Return the error of a database that takes no writes."""
    with pytest.raises(UnavailableError) as caught, bed.database.write():
        pass
    return caught.value


def is_refused(bed: StoreBed, handler: Handler) -> bool:
    try:
        bed.call(handler)
    except UnavailableError:
        return True
    return False


def test_a_commit_is_on_disk_whatever_the_default_of_the_database(postgres_bed: PostgresBed, database_url: str) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    for setting, expected in (("off", "on"), ("remote_apply", "remote_apply")):
        postgres_bed.query(f"ALTER DATABASE {name} SET synchronous_commit = {setting}")
        database = Database(database_url)
        with database.read() as connection:
            assert connection.execute(sa.text("SHOW synchronous_commit")).scalar() == expected
        database.close()


def test_several_hosts_may_be_named_of_which_one_is_the_primary(postgres_bed: PostgresBed, database_url: str) -> None:
    several = database_url.replace("?host=", f"?host={postgres_bed.folder}/nobody:5432&host=")
    several = f"{several}:5432&target_session_attrs=read-write"
    with open_store(several) as opened:
        wakeup = Wakeup()
        wakeup.topics.add("docker")
        listener = Listener(opened.database.url, wakeup, database_clock(opened.database))
        try:
            opened.show("web")
            handler = opened.handler("web")
            wait_until(lambda: wakeup.wait(0, 0) > 1, "it listens")
            seen = wakeup.wait(0, 0)
            opened.call(handler)
            assert wakeup.wait(seen, 30) != seen
        finally:
            listener.close()
