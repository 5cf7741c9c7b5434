"""Actions that end half done: what is kept of them, who can still write to them, and who clears them up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.support.stores import ENGINE, LEASE, StoreBed
from tutumd.errors import ConflictError, LeaseLostError
from tutumd.model import Action, ActionState, Claim, Outcome
from tutumd.ports.queue import GIVE_UP_AFTER, Renewal
from tutumd.store.queue.leases import PAUSES_S
from tutumd.store.tables.services import services

JOURNAL = {"phase": "swap", "swaps": [{"old": "1"}]}


def claimed_by(bed: StoreBed, worker: str) -> Claim:
    claim = bed.queue.claim(worker, ["docker"], lease=LEASE)
    assert claim is not None
    return claim


def stored(bed: StoreBed, claim: Claim) -> Action:
    return bed.store.action(bed.admin, claim.action.uuid)


def begun(bed: StoreBed, service: str = "web") -> Claim:
    """Claim an action and let its run change something."""
    bed.call(bed.handler(service))
    claim = bed.claimed()
    bed.queue.add_log_line(claim, "pulled app:v2")
    bed.queue.save_journal(claim, JOURNAL)
    return claim


def test_an_abandoned_action_ends_with_what_is_known_of_it(bed: StoreBed) -> None:
    claim = begun(bed)
    bed.queue.retry_later(claim, delay=timedelta(), error="no route to host")
    before = bed.clock.now
    ended = bed.store.abandon(bed.admin, claim.action.uuid)
    assert (ended.state, ended.ended) == (ActionState.FAILED, before)
    assert ended.reason == (
        "left half done: abandoned by admin; phase: swap; last steps: pulled app:v2; last error: no route to host"
    )
    assert bed.claim() is None


def test_the_holder_of_an_abandoned_action_can_store_nothing_more(bed: StoreBed) -> None:
    claim = begun(bed)
    bed.store.abandon(bed.admin, claim.action.uuid)
    ended = stored(bed, claim)
    bed.call(bed.handler("web"))
    claimed_by(bed, "next")
    late_writes: tuple[Callable[[], None], ...] = (
        lambda: bed.queue.save_journal(claim, {"phase": "commit"}),
        lambda: bed.queue.retry_later(claim, delay=timedelta(), error="late"),
        lambda: bed.queue.release(claim),
        lambda: bed.finish(claim),
    )
    for late_write in late_writes:
        with pytest.raises(LeaseLostError):
            late_write()
    assert bed.renew(claim) is Renewal.LOST
    assert stored(bed, claim) == ended


def test_the_next_claim_clears_up_what_was_left(bed: StoreBed) -> None:
    left = begun(bed)
    bed.store.abandon(bed.admin, left.action.uuid)
    bed.call(bed.handler("web"))
    bed.call(bed.handler("db"))
    claims = {claim.service.name: claim for claim in (bed.claimed(), bed.claimed())}
    assert claims["db"].leftover is None
    first = claims["web"]
    assert first.leftover is not None
    assert (first.leftover.action.uuid, first.leftover.journal) == (left.action.uuid, JOURNAL)
    assert first.journal == {}
    bed.queue.save_leftover(first, {"phase": "restore"})
    bed.queue.release(first)
    second = bed.claimed()
    assert second.leftover is not None
    assert second.leftover.journal == {"phase": "restore"}
    with pytest.raises(LeaseLostError):
        bed.queue.save_leftover(first, {})
    bed.queue.save_leftover(second, {})
    bed.queue.release(second)
    assert bed.claimed().leftover is None


def test_only_an_action_in_progress_can_be_abandoned(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    with pytest.raises(ConflictError, match="Pending"):
        bed.store.abandon(bed.admin, uuid)
    bed.finish(bed.claimed())
    with pytest.raises(ConflictError, match="Success"):
        bed.store.abandon(bed.admin, uuid)


@pytest.mark.slow
def test_a_run_that_had_changed_nothing_leaves_nothing_to_clear_up(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    claim = bed.claimed()
    assert "it had saved nothing" in bed.store.abandon(bed.admin, claim.action.uuid).reason
    bed.call(bed.handler("web"))
    assert bed.claimed().leftover is None


def test_a_look_that_began_before_an_action_was_abandoned_is_out_of_date(bed: StoreBed) -> None:
    claim = begun(bed)

    def revision() -> int:
        with bed.database.read() as connection:
            statement = sa.select(services.c.revision).where(services.c.uuid == claim.service.uuid)
            return int(connection.execute(statement).scalar_one())

    before = revision()
    bed.store.abandon(bed.admin, claim.action.uuid)
    assert revision() > before


def test_what_is_left_half_done_is_not_pruned(bed: StoreBed) -> None:
    claim = begun(bed)
    bed.store.abandon(bed.admin, claim.action.uuid)
    bed.clock.move(100 * 24 * 3600)
    bed.queue.prune(timedelta(days=90), 100)
    bed.call(bed.handler("web"))
    assert bed.claimed().leftover is not None


def test_an_outcome_that_is_half_done_is_kept_for_the_next_run(bed: StoreBed) -> None:
    claim = begun(bed)
    bed.queue.finish(claim, Outcome(success=False, half_done=True, reason="three died"), None)
    bed.call(bed.handler("web"))
    leftover = bed.claimed().leftover
    assert leftover is not None
    assert leftover.journal == JOURNAL


@pytest.mark.parametrize(
    ("steps", "deaths"),
    [
        ("a:claim take_over b:claim take_over", 2),
        ("a:claim lease_ends", 1),
        ("c:claim lease_ends", 0),  # the worker that claims it again has not died
        ("a:claim release", 0),
        ("a:claim take_over b:claim retry b:claim take_over", 1),
        ("a:claim take_over b:claim survive take_over", 1),
        ("a:claim save take_over b:claim save take_over", 2),
    ],
)
def test_workers_that_die_in_an_action_are_counted(bed: StoreBed, steps: str, deaths: int) -> None:
    bed.call(bed.handler("web"))
    claims: list[Claim] = []
    for step in steps.split():
        match step.rpartition(":")[2]:
            case "claim":
                claims.append(claimed_by(bed, step[0]))
            case "take_over":
                bed.queue.take_over()
            case "lease_ends":
                bed.clock.move(LEASE.total_seconds() + 1)
            case "release":
                bed.queue.release(claims[-1])
            case "retry":
                bed.queue.retry_later(claims[-1], delay=timedelta(), error="away")
            case "survive":
                bed.renew(claims[-1], has_survived=True)
            case "save":
                bed.queue.save_journal(claims[-1], {**JOURNAL, "workers": len(claims)})
    bed.clock.move(PAUSES_S[1] if deaths > 1 else 0)
    assert claimed_by(bed, "c").deaths == deaths


def test_of_an_engine_that_is_away_only_what_needs_no_engine_is_claimed(bed: StoreBed) -> None:
    def claim() -> Claim | None:
        return bed.queue.claim("worker", ["docker"], lease=LEASE, are_away=True)

    bed.call(bed.handler("web"))
    bed.queue.retry_later(bed.claimed(), delay=timedelta(seconds=15), error="away")
    half_done = begun(bed, "db")
    bed.queue.retry_later(half_done, delay=timedelta(), error="away")
    bed.store.cancel(bed.admin, half_done.action.uuid)
    bed.clock.move(GIVE_UP_AFTER.total_seconds() - 1)
    assert claim() is None
    bed.clock.move(1)
    given_up = claim()
    assert given_up is not None
    assert (given_up.service.name, given_up.is_given_up) == ("web", True)
    assert claim() is None, "a half-done action is never given up"


def test_a_canceled_action_that_waits_for_its_engine_is_due_at_once(bed: StoreBed) -> None:
    bed.call(bed.handler("web"))
    waiting = bed.claimed()
    bed.queue.retry_later(waiting, delay=timedelta(seconds=15), error="away")
    bed.store.cancel(bed.admin, waiting.action.uuid)
    claim = bed.queue.claim("worker", ["docker"], lease=LEASE, are_away=True)
    assert claim is not None
    assert claim.is_cancel_requested


def test_actions_of_an_engine_that_is_away_say_what_they_wait_for(bed: StoreBed) -> None:
    claim = begun(bed)
    bed.queue.retry_later(claim, delay=timedelta(), error="away")
    pending = bed.call(bed.handler("db"))
    away = replace(ENGINE, error="cannot reach the engine: timed out", away=True)
    bed.queue.register("worker", [away])
    text = "waiting for the engine: cannot reach the engine: timed out"
    assert bed.store.action(bed.admin, pending).reason == text
    assert (
        stored(bed, claim).reason
        == f"{text}; it is half done: it ends when the engine is back, or when an admin abandons it"
    )
    bed.queue.register("worker", [replace(away, away=False)])
    assert bed.store.action(bed.admin, pending).reason == ""
    assert stored(bed, claim).reason == "waiting for another try: away"
