"""Commit statuses: what is queued for forges at the start and the end of a redeploy."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.contract.store.test_notifier_queue import SENT, add, claim, stored
from tests.contract.store.test_outbox import ALL, ON_POSTGRES, events, send_all
from tests.support.stores import ORIGIN, StoreBed
from tests.support.waiting import wait_until
from tutumd.errors import ConflictError
from tutumd.model import Claim, Handler, ImageFacts, Outcome, Verb
from tutumd.model.notifications import (
    SendResult,
    TargetKind,
)
from tutumd.store.queue import outbox
from tutumd.store.queue.notifier_queue import SqlNotificationQueue
from tutumd.store.sql.wakeup import Wakeup

COMMITS = ("a" * 40, "b" * 64)


def deploy(bed: StoreBed, *revisions: str | None, **outcome: Any) -> str:
    """Let a redeploy with calls for these commits end, and return the action's UUID."""
    handler = bed.handler("web", verify={"secrets": ["enc:v1:x"]})
    for revision in revisions:
        bed.accepted(handler, bed.evaluate(handler, verified=True, revision=revision))
    claimed = bed.claimed()
    bed.queue.finish(claimed, Outcome(**{"success": True, **outcome}), None)
    return claimed.action.uuid


FORGE: dict[str, Any] = {"kind": TargetKind.FORGE, "events": ()}


def test_each_commit_gets_a_status_at_the_start_and_one_at_the_end(bed: StoreBed) -> None:
    queue = SqlNotificationQueue(bed.database, bed.clock, Wakeup())
    add(bed, **FORGE)
    add(bed, "other", service_uuid=bed.service_uuid("db"), **FORGE)
    handler = bed.handler("web", verify={"secrets": ["enc:v1:x"]})
    for revision in (*COMMITS, COMMITS[0], None):
        bed.accepted(handler, bed.evaluate(handler, verified=True, revision=revision))
    claimed = bed.claimed()
    assert events(bed) == ["action.started"] * 2
    (sent,) = claim(queue)
    queue.finish_notification(sent, SendResult(sent=True), None)
    (waiting,) = claim(queue)
    queue.finish_notification(waiting, SendResult(sent=False), bed.clock() + timedelta(minutes=5))
    bed.queue.finish(claimed, Outcome(success=False, canceled=True), None)
    # The start that was not sent yet is dropped.
    assert events(bed) == ["action.started", *["action.canceled"] * 2]
    assert {sent.notification.payload["data"]["revision"]} < set(COMMITS)
    assert {each.payload["data"]["revision"] for each in send_all(bed)} == set(COMMITS)


def test_a_start_that_fails_after_the_end_is_not_repeated(bed: StoreBed) -> None:
    queue = SqlNotificationQueue(bed.database, bed.clock, Wakeup())
    add(bed, **FORGE)
    handler = bed.handler("web", verify={"secrets": ["enc:v1:x"]})
    bed.accepted(handler, bed.evaluate(handler, verified=True, revision=COMMITS[0]))
    claimed = bed.claimed()
    (start,) = claim(queue)
    bed.queue.finish(claimed, Outcome(success=True), None)
    assert events(bed) == ["action.started", "action.succeeded"]
    queue.finish_notification(start, SendResult(sent=False, status=502), bed.clock())
    assert events(bed) == ["action.succeeded"]


def begin(bed: StoreBed, handler: Handler) -> Claim:
    """Let the redeploy of a commit begin."""
    bed.accepted(handler, bed.evaluate(handler, verified=True, revision=COMMITS[0]))
    return bed.claimed()


def test_a_status_is_not_sent_after_a_newer_one_of_its_commit(bed: StoreBed) -> None:
    queue = SqlNotificationQueue(bed.database, bed.clock, Wakeup())
    target = add(bed, **FORGE)
    handler = bed.handler("web", verify={"secrets": ["enc:v1:x"]})
    for fails_after_the_next in (False, True):
        bed.queue.finish(begin(bed, handler), Outcome(success=False), None)
        (sending,) = claim(queue)
        attempt = (sending, SendResult(sent=False, status=502), bed.clock() + timedelta(minutes=5))
        if not fails_after_the_next:
            queue.finish_notification(*attempt)
        bed.queue.finish(begin(bed, handler), Outcome(success=True), None)
        if fails_after_the_next:
            queue.finish_notification(*attempt)
        assert events(bed) == ["action.succeeded"]
    for result, due in ((SendResult(sent=False, status=401), None), (SENT, None)):
        queue.finish_notification(claim(queue)[0], result, due)
        if not result.sent:
            bed.queue.finish(begin(bed, handler), Outcome(success=False), None)
    assert bed.store.retry_dead(bed.admin, target.uuid) == 0
    with pytest.raises(ConflictError, match="a newer one"):
        bed.store.retry_notification(bed.admin, stored(bed, state="dead")[0].uuid)
    with bed.database.write() as connection:
        connection.execute(sa.text("DELETE FROM notifications"))
    claimed = begin(bed, handler)
    bed.store.change_target(bed.admin, target.uuid, lambda old: replace(old, enabled=False))
    bed.queue.finish(claimed, Outcome(success=True), None)
    bed.store.change_target(bed.admin, target.uuid, lambda old: replace(old, enabled=True))
    assert not stored(bed)


@ON_POSTGRES
@pytest.mark.dialect
def test_an_end_waits_for_the_result_of_the_start(bed: StoreBed) -> None:
    queue = SqlNotificationQueue(bed.database, bed.clock, Wakeup())
    add(bed, **FORGE)
    action = begin(bed, bed.handler("web", verify={"secrets": ["enc:v1:x"]}))
    claim(queue)
    with ThreadPoolExecutor() as threads:
        with bed.database.write() as connection:
            connection.execute(sa.text("UPDATE notifications SET lease_until = NULL"))
            ending = threads.submit(bed.queue.finish, action, Outcome(success=True), None)
            wait_until(lambda: ending.done() or bed.is_waiting_for_a_lock(), "the end waits")
        ending.result()
    assert events(bed) == ["action.succeeded"]


def test_a_redeploy_is_told_to_targets_of_each_kind(bed: StoreBed) -> None:
    for name, of_kind in {"oncall": {"events": ALL}, "forge": FORGE}.items():
        add(bed, name, **of_kind)
    handler = bed.handler("web", verify={"secrets": ["enc:v1:x"]})
    bed.queue.finish(begin(bed, handler), Outcome(success=False), None)
    assert events(bed) == ["action.failed"] * 2
    queue = SqlNotificationQueue(bed.database, bed.clock, Wakeup())
    told = {each.target.kind: each.notification.payload["data"] for each in claim(queue)}
    assert told[TargetKind.FORGE]["revision"] == COMMITS[0]
    assert told[TargetKind.WEBHOOK]["suppressed"] == 0


@pytest.mark.parametrize(
    ("verb", "revision", "expected", "is_explained"),
    [
        (Verb.REDEPLOY, COMMITS[1], ["action.succeeded"], False),
        (Verb.REDEPLOY, "", [], True),
        (Verb.REDEPLOY, "main", [], True),
        (Verb.STOP, COMMITS[1], [], False),
    ],
)
def test_without_a_payload_the_label_of_the_image_names_the_commit(
    bed: StoreBed, verb: Verb, revision: str, expected: list[str], is_explained: bool
) -> None:
    add(bed, **FORGE)
    action = bed.store.submit(bed.admin, bed.service_uuid("web"), verb, target=None, origin=ORIGIN)
    bed.queue.finish(bed.claimed(), Outcome(success=True, image=ImageFacts(reference="app", revision=revision)), None)
    assert events(bed) == expected
    lines = [line.text for line in bed.store.log_lines(bed.admin, action.uuid, 0)]
    assert (outbox.NO_REVISION in lines) == is_explained
