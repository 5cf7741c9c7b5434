"""Rollbacks by users: what they cancel, which of them join, what they refuse, and what they hold."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.history import end, history, image, look, perform_rollback, redeploy, roll_back, submit
from tests.support.stores import ORIGIN, StoreBed, at_once
from tutumd.errors import ConflictError, InvalidInputError, NotFoundError
from tutumd.model import Action, ActionState, Claim, Operation, Outcome, Reference, User, Verb
from tutumd.ports.queue import Renewal

IN_AN_HOUR = timedelta(hours=1)


@pytest.fixture
def bed(bed: StoreBed) -> Iterator[StoreBed]:
    """A store with a service `web` that ran the images a, b and c."""
    bed.sync(look("a"))
    redeploy(bed, "b", "c")
    yield bed


def read(bed: StoreBed, action: Action | Claim) -> Action:
    return bed.store.action(bed.admin, (action.action if isinstance(action, Claim) else action).uuid)


@pytest.mark.dialect
def test_a_rollback_cancels_pending_redeploys_and_says_so_to_their_callers(bed: StoreBed) -> None:
    called = bed.accepted(bed.handler("web"))
    scaled = bed.call(bed.handler("web", Operation.SCALEUP))
    action = roll_back(bed)
    assert (action.verb, action.state, action.image and action.image.number) == (Verb.ROLLBACK, "Pending", 2)
    progress = bed.store.progress([reference := Reference(called.handler_seq, called.action_seq)])[reference]
    assert progress.action.state is ActionState.CANCELED
    assert progress.action.reason == "superseded by a rollback to #2 (sha256:bbbbbbbbbbbb)"
    assert bed.claimed().action.uuid == scaled


@pytest.mark.dialect
def test_a_rollback_ends_a_running_redeploy_and_begins_when_it_has_been_undone(bed: StoreBed) -> None:
    submit(bed)
    running = bed.claimed()
    action = roll_back(bed)
    assert bed.renew(running) is Renewal.CANCEL_REQUESTED
    assert (read(bed, running).state, bed.claim()) == (ActionState.CANCELING, None)
    bed.queue.finish(running, Outcome(success=False, canceled=True), look("c"))
    assert read(bed, running).state is ActionState.CANCELED
    claim = bed.claimed()
    assert claim.action.uuid == action.uuid
    end(bed, claim, "b")
    assert history(bed)[-1] == (4, "b", 1)


def test_a_redeploy_that_ends_before_its_cancel_is_rolled_back_all_the_same(bed: StoreBed) -> None:
    submit(bed)
    running = bed.claimed()
    roll_back(bed)
    end(bed, running, "d")
    assert perform_rollback(bed) == "b"
    assert history(bed)[-2:] == [(4, "d", 3), (5, "b", 1)]


@pytest.mark.parametrize("is_canceled", [False, True], ids=["waiting", "canceled"])
def test_a_rollback_ends_a_redeploy_that_waits_for_another_try(bed: StoreBed, is_canceled: bool) -> None:
    submit(bed)
    waiting = bed.claimed()
    bed.queue.save_journal(waiting, {"phase": "begun"})
    bed.queue.retry_later(waiting, delay=IN_AN_HOUR, error="no route to host")
    if is_canceled:
        bed.store.cancel(bed.admin, waiting.action.uuid)
    roll_back(bed)
    again = bed.claimed()
    assert (again.action.uuid, again.is_cancel_requested) == (waiting.action.uuid, True)
    bed.queue.finish(again, Outcome(success=False, canceled=True), look("c"))
    assert perform_rollback(bed) == "b"


@pytest.mark.dialect
def test_equal_rollbacks_join_and_another_replaces_them(bed: StoreBed) -> None:
    first = roll_back(bed)
    assert {roll_back(bed, each).uuid for each in (None, "2", image("b").digest)} == {first.uuid}
    other = roll_back(bed, "1")
    assert (read(bed, first).state, other.uuid != first.uuid) == (ActionState.CANCELED, True)
    claim = bed.claimed()
    assert (claim.action.uuid, roll_back(bed, "1").uuid) == (other.uuid, other.uuid)
    replaced = roll_back(bed)
    assert read(bed, claim).state is ActionState.CANCELING
    bed.queue.finish(claim, Outcome(success=False, canceled=True), look("c"))
    assert bed.claimed().action.uuid == replaced.uuid


@pytest.mark.dialect
def test_simultaneous_rollbacks_are_one(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")

    def act(store: object, number: int) -> Action:
        return bed.store.roll_back(bed.admin, uuid, image=None, hold=True, reason="", origin=ORIGIN)

    assert len({getattr(action, "uuid", action) for action in at_once(bed, act)}) == 1


@pytest.mark.dialect
def test_a_rollback_holds_later_redeploys_until_somebody_resumes(bed: StoreBed) -> None:
    handler = bed.handler("web")
    roll_back(bed, hold=True)
    assert perform_rollback(bed) == "b"
    held = bed.call(handler)
    bed.clock.move(IN_AN_HOUR.total_seconds())
    assert bed.claim() is None
    roll_back(bed, hold=True, reason="incident 42")
    assert perform_rollback(bed) == "a"
    assert bed.store.action(bed.admin, held).state is ActionState.CANCELED


def test_a_rollback_without_hold_lets_later_redeploys_start(bed: StoreBed) -> None:
    roll_back(bed)
    perform_rollback(bed)
    submit(bed)
    assert bed.claimed().action.verb is Verb.REDEPLOY


def test_a_rollback_refuses_what_is_no_older_image(bed: StoreBed) -> None:
    bed.sync(look("x"))
    redeploy(bed, "c")
    for unknown in ("4", "7", "0", "-1", "", "shop:latest", image("x").digest, image("d").digest):
        with pytest.raises(InvalidInputError, match="must be the number or digest"):
            roll_back(bed, unknown)
    for running in ("3", "5", image("c").digest):
        with pytest.raises(ConflictError, match="already runs"):
            roll_back(bed, running)
    bed.sync(replace(look("c"), rollback_refusal="the Deployment is paused"))
    with pytest.raises(ConflictError, match="the Deployment is paused"):
        roll_back(bed)
    assert not bed.has_pending_action()


def test_a_rollback_of_a_service_that_is_gone_waits_as_a_redeploy_does(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")
    bed.sync()
    bed.store.roll_back(bed.admin, uuid, image=None, hold=False, reason="", origin=ORIGIN)
    assert bed.claimed().action.verb is Verb.ROLLBACK


@pytest.mark.dialect
def test_a_retry_requests_the_same_image(bed: StoreBed) -> None:
    failed = roll_back(bed, "1")
    end(bed, bed.claimed(), "c", success=False)
    redeploy(bed, "d")
    retried = bed.store.retry(bed.admin, failed.uuid, ORIGIN)
    assert (retried.verb, retried.image) == (Verb.ROLLBACK, failed.image)
    assert perform_rollback(bed) == "a"
    assert history(bed)[-1] == (5, "a", None)


def test_only_users_of_a_service_see_its_images_and_roll_it_back(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")
    bed.sync(replace(look("c"), owner="ada"))
    ada, bob = (bed.store.add_user(name, is_admin=False) for name in ("ada", "bob"))
    narrow = replace(ada, access=replace(ada.access, service_uuid="another"))

    def act(viewer: User) -> Action:
        assert len(bed.store.images(viewer, uuid)) == 3
        return bed.store.roll_back(viewer, uuid, image=None, hold=False, reason="", origin=ORIGIN)

    assert act(ada).uuid == act(bed.admin).uuid
    for stranger in (bob, narrow):
        with pytest.raises(NotFoundError):
            bed.store.images(stranger, uuid)
        with pytest.raises(NotFoundError):
            bed.store.roll_back(stranger, uuid, image=None, hold=False, reason="", origin=ORIGIN)
