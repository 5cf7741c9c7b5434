"""PgBouncer in transaction mode, where each transaction may get another connection to the server."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.contract.store.test_lost_connections import at, lose_connection_after_commit
from tests.support.pgbouncer_bed import PgBouncerBed, missing_pgbouncer
from tests.support.postgres_bed import PostgresBed
from tests.support.stores import StoreBed, second_intake
from tests.support.waiting import wait_until
from tutumd.errors import UnavailableError
from tutumd.model import Accepted, Handler, Operation
from tutumd.ports.queue import Renewal


@pytest.fixture
def pgbouncer(postgres_bed: PostgresBed) -> Iterator[PgBouncerBed]:
    if missing := missing_pgbouncer():
        pytest.fail(missing)
    bouncer = PgBouncerBed(postgres_bed)
    bouncer.start()
    yield bouncer
    bouncer.stop()


@pytest.fixture
def database_url(postgres_bed: PostgresBed, pgbouncer: PgBouncerBed) -> str:
    return pgbouncer.url(postgres_bed.new_database())


@pytest.mark.slow
def test_calls_and_runs_share_two_connections_to_the_server(bed: StoreBed, database_url: str) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    with second_intake(bed, database_url) as other, ThreadPoolExecutor(4) as pool:
        for _ in range(8):  # so often that statements are prepared
            calls = [pool.submit(bed.send, handler, intake=intake) for intake in (bed.intake, other) * 2]
            assert all(isinstance(each.result(120), Accepted) for each in calls)
            claim = bed.claimed()
            assert bed.queue.amounts(claim) == ((4, None),)
            bed.queue.save_journal(claim, {"step": 1})
            assert bed.renew(claim) is Renewal.RENEWED
            bed.finish(claim)
    assert len(bed.outcomes(handler)) == 32


def test_a_call_whose_commit_was_not_confirmed_is_accepted_if_it_was_stored(bed: StoreBed) -> None:
    handler = bed.handler("web", Operation.SCALEUP)
    at(bed, "commit", 1, lose_connection_after_commit)
    bed.call(handler, 3)
    assert bed.queue.amounts(bed.claimed()) == ((3, None),)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "operation"), [(signal.SIGQUIT, Operation.SCALEUP), (signal.SIGKILL, Operation.REDEPLOY)]
)
def test_calls_are_refused_while_pgbouncer_is_away_and_none_is_lost(
    bed: StoreBed, pgbouncer: PgBouncerBed, how: signal.Signals, operation: Operation
) -> None:
    handler = bed.handler("web", operation)
    stop, accepted = Event(), [0]
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(keep_calling, bed, handler, stop, accepted)
        wait_until(lambda: accepted[0] >= 5, "calls are accepted")
        pgbouncer.stop(how)
        wait_until(lambda: bed.intake.failing_s() is not None, "calls are refused")
        pgbouncer.start()
        before = accepted[0]
        wait_until(lambda: accepted[0] >= before + 5, "calls are accepted again")
        stop.set()
        calling.result(120)
    assert bed.store.action(bed.admin, bed.call(handler)).deliveries == accepted[0] + 1


def keep_calling(bed: StoreBed, handler: Handler, stop: Event, accepted: list[int]) -> None:
    """Call until told to stop, and count the accepted calls."""
    while not stop.is_set():
        result = bed.send(handler)
        assert isinstance(result, Accepted | UnavailableError)
        accepted[0] += isinstance(result, Accepted)
