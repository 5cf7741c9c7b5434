"""Issuers of identity tokens: which ones are fetched when, and what becomes of their keys."""

import pytest

from tests.support.stores import StoreBed, at_once
from tutumd.model import NewHandler, Operation
from tutumd.model.groups import GroupSelector
from tutumd.store.queue.notifier_queue import SqlNotificationQueue
from tutumd.store.sql.wakeup import NOTIFICATIONS, Wakeup

URL, OTHER = "https://id.example.com", "https://other.example.com/a_b"
MINUTE, HOUR = 60, 3600


@pytest.fixture
def queue(bed: StoreBed) -> SqlNotificationQueue:
    return SqlNotificationQueue(bed.database, bed.clock, Wakeup())


def verify(url: str) -> dict[str, object]:
    return {"preset": "oidc", "issuer": url, "claims": {"sub": ["me"]}, "secrets": []}


def test_a_handler_that_names_an_issuer_lets_its_keys_be_fetched_once(
    bed: StoreBed, queue: SqlNotificationQueue
) -> None:
    assert not queue.is_needed()
    handler = bed.handler("web")
    assert queue.claim_issuer() is None
    changed = NewHandler(operation=Operation.REDEPLOY, options={"verify": verify(URL)})
    bed.store.change_handler(bed.admin, handler.service_uuid, handler.uuid, lambda _: changed)
    bed.handler("db", verify=verify(URL))
    bed.store.add_handler_once(
        bed.admin,
        handler.service_uuid,
        NewHandler(operation=Operation.REDEPLOY, options={"verify": verify(OTHER)}),
        "f",
    )
    assert queue.is_needed()
    assert {queue.claim_issuer(), queue.claim_issuer()} == {URL, OTHER}
    assert queue.claim_issuer() is None


def test_a_group_names_an_issuer(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    selector = GroupSelector(services=(bed.service_uuid("web"),))
    group = bed.store.add_handlers(bed.admin, "", [NewHandler(selector=selector, options={"verify": verify(URL)})])[0]
    assert queue.claim_issuer() == URL
    other = NewHandler(selector=selector, options={"verify": verify(OTHER)})
    bed.store.change_handler(bed.admin, "", group.uuid, lambda _: other)
    assert queue.claim_issuer() == OTHER


def test_keys_are_fetched_every_hour_and_an_error_keeps_the_old_ones(
    bed: StoreBed, queue: SqlNotificationQueue
) -> None:
    bed.handler("web", verify=verify(URL))
    assert queue.claim_issuer() == URL
    queue.save_keys(URL, "", "it is\0off")
    bed.clock.move(MINUTE - 1)
    assert queue.claim_issuer() is None
    bed.clock.move(1)
    assert queue.claim_issuer() == URL
    queue.save_keys(URL, '{"keys": []}', "")
    fetched = bed.clock()
    bed.clock.move(HOUR - 1)
    assert queue.claim_issuer() is None
    bed.clock.move(1)
    assert queue.claim_issuer() == URL
    queue.save_keys(URL, "", "it is off")
    keys = bed.store.issuer_keys(URL)
    assert keys is not None
    assert (keys.keys, keys.fetched, keys.tried, keys.error) == ('{"keys": []}', fetched, bed.clock(), "it is off")


def test_wanted_keys_are_fetched_once_per_minute(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    bed.handler("web", verify=verify(URL))
    assert queue.claim_issuer() == URL
    queue.save_keys(URL, "{}", "")
    for _ in range(3):
        bed.store.want_keys(URL)
    assert queue.claim_issuer() is None  # it was fetched just now
    bed.clock.move(MINUTE)
    assert at_once(bed, lambda store, number: _claim(bed)).count(URL) == 1
    bed.clock.move(MINUTE)
    assert queue.claim_issuer() is None


def test_a_clock_that_is_set_back_stops_no_fetch(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    bed.handler("web", verify=verify(URL))
    assert queue.claim_issuer() == URL
    queue.save_keys(URL, "{}", "")
    bed.clock.move(-24 * HOUR)
    assert queue.claim_issuer() == URL


def test_an_issuer_that_no_handler_names_is_deleted_when_it_is_due(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    handler = bed.handler("web", verify=verify(URL))
    assert queue.claim_issuer() == URL
    bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    bed.clock.move(HOUR)
    assert queue.claim_issuer() is None
    assert bed.store.issuer_keys(URL) is None
    assert not queue.is_needed()


def test_an_issuer_that_is_deleted_delays_no_other(bed: StoreBed, queue: SqlNotificationQueue) -> None:
    for url in (URL, OTHER):
        handler = bed.handler("web", verify=verify(url))
        bed.store.delete_handler(bed.admin, handler.service_uuid, handler.uuid)
    bed.handler("web", verify=verify(f"{URL}/z"))
    assert queue.claim_issuer() == f"{URL}/z"


def test_wanted_keys_wake_the_notifier(bed: StoreBed) -> None:
    wakeup = Wakeup()
    wakeup.topics.add(NOTIFICATIONS)
    seen = wakeup.wait(0, 0)
    type(bed.store)(bed.database, bed.clock, wakeup).want_keys(URL)
    assert wakeup.wait(seen, 0) != seen


def _claim(bed: StoreBed) -> str | None:
    return SqlNotificationQueue(bed.database, bed.clock, Wakeup()).claim_issuer()
