"""The end of old entries, sessions and login links."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.contract.store.audit.changes import CHANGES, KEY, LINK, NEW, OTHER_KEY, TOKEN, soon
from tests.support.stores import ORIGIN, StoreBed
from tutumd.model import NewSession, User


def test_old_entries_are_deleted_in_batches_and_new_ones_stay(bed: StoreBed, ann: User) -> None:
    web = bed.service_uuid("web")
    bed.store.add_handlers(ann, web, [NEW] * 5)
    old = len(bed.store.audit(bed.admin).entries)
    bed.clock.move(10 * 86_400)
    bed.store.add_handlers(ann, web, [NEW])
    keep = timedelta(days=9)
    while bed.queue.prune(timedelta(days=90), 2, keep_audit=timedelta(days=11)):
        pass
    assert len(bed.store.audit(bed.admin).entries) == old + 1
    assert bed.queue.prune(timedelta(days=90), 2, keep_audit=keep)
    assert len(bed.store.audit(bed.admin).entries) == old - 1
    while bed.queue.prune(timedelta(days=90), 2, keep_audit=keep):
        pass
    (left,) = bed.store.audit(bed.admin).entries
    assert left.at == bed.clock()


def test_expired_sessions_and_login_links_are_deleted(bed: StoreBed, ann: User) -> None:
    bed.store.add_session(ann, NewSession(token_sha256=TOKEN, expires=bed.clock() + timedelta(days=1)))
    bed.store.add_session(ann, NewSession(token_sha256=KEY, expires=bed.clock() + timedelta(days=3)))
    bed.store.add_login_link("ann", LINK, bed.clock() + timedelta(minutes=15))
    bed.clock.move(2 * 86_400)
    bed.queue.prune(timedelta(days=90), 100)
    with bed.database.read() as connection:
        assert connection.execute(sa.text("SELECT token_sha256 FROM sessions")).scalars().all() == [KEY]
        assert connection.execute(sa.text("SELECT count(*) FROM login_links")).scalar_one() == 0


@pytest.mark.parametrize("event", ["key revoked", "user removed", "session ended"])
def test_what_ends_sessions_is_counted(bed: StoreBed, ann: User, event: str) -> None:
    (change,) = (each for each in CHANGES if each.event == event)
    act = change.prepare(bed, ann)
    before = bed.store.ended
    act()
    assert bed.store.ended > before


@pytest.mark.parametrize("is_by_link", [False, True])
def test_a_sign_in_that_ends_the_session_before_is_counted(bed: StoreBed, ann: User, is_by_link: bool) -> None:
    bed.store.add_session(ann, NewSession(token_sha256=TOKEN, expires=soon(bed)))
    bed.store.add_login_link(ann.name, LINK, soon(bed))
    again = NewSession(token_sha256=OTHER_KEY, expires=soon(bed), replaces=TOKEN)
    before = bed.store.ended
    if is_by_link:
        bed.store.use_login_link(LINK, again, ORIGIN)
    else:
        bed.store.add_session(ann, again)
    assert bed.store.session_user(TOKEN) is None
    assert bed.store.ended > before
