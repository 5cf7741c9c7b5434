"""The audit log: each change and its entry are stored together, or neither is."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from tests.contract.store.audit.changes import CHANGES, KEY, LINK, OTHER_KEY, SECRETS, TOKEN, Change, newest
from tests.support.stores import ORIGIN, StoreBed
from tutumd.application import services
from tutumd.errors import ConflictError, NotFoundError, UnavailableError
from tutumd.model import AuditEvent, NewHandler, NewKey, User, Verb, Via
from tutumd.store.tables.schema import metadata


def uuids_of_handlers(bed: StoreBed) -> list[str]:
    with bed.database.read() as connection:
        return list(connection.execute(sa.text("SELECT uuid FROM handlers")).scalars())


def dump(bed: StoreBed) -> dict[str, list[str]]:
    """Return all rows but those of the log itself."""
    with bed.database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table))))
            for table in metadata.sorted_tables
            if table.name != "audit"
        }


@pytest.fixture
def broken_log(bed: StoreBed) -> Iterator[Callable[[], None]]:
    """What keeps entries from being written."""

    def break_it() -> None:
        with bed.database.write() as connection:
            connection.execute(sa.text("ALTER TABLE audit RENAME TO audit_is_elsewhere"))

    yield break_it
    with bed.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE audit_is_elsewhere RENAME TO audit"))


def test_every_event_is_in_these_tests() -> None:
    of_server = (AuditEvent.TARGET_DISABLED, AuditEvent.ACTION_CALLED)
    of_users = [event for event in AuditEvent if event not in of_server]
    assert [change.event for change in CHANGES] == of_users


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.event.name.lower())
def test_a_change_says_who_did_it_from_where_and_with_what(bed: StoreBed, ann: User, change: Change) -> None:
    act = change.prepare(bed, ann)
    before, credentials = newest(bed).number, uuids_of_handlers(bed)
    act()
    (entry,) = [each for each in bed.store.audit(bed.admin).entries if each.number > before]
    assert (entry.what, entry.user_name, entry.via) == (change.event, "ann", Via.PAGE)
    assert (entry.credential, entry.address, entry.user_agent) == ("login link", "192.0.2.7", "Firefox ?")
    assert entry.at == bed.clock()
    assert entry.details.startswith(change.details)
    is_about_service = change.event.split()[0] in ("handler", "action", "delivery", "service", "freeze")
    assert (entry.service_name in ("shop/web", "made")) == is_about_service
    assert (entry.handler_number is not None) == (change.event.split()[0] in ("handler", "delivery"))
    assert (entry.action_uuid is not None) == (change.event.split()[0] == "action")
    with bed.database.read() as connection:
        text = repr(connection.execute(sa.text("SELECT * FROM audit")).all())
    for credential in (*credentials, *uuids_of_handlers(bed), KEY[:16], OTHER_KEY[:16], TOKEN, LINK, *SECRETS):
        assert credential not in text


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.event.name.lower())
def test_without_its_entry_nothing_is_changed(
    bed: StoreBed, ann: User, change: Change, broken_log: Callable[[], None]
) -> None:
    act = change.prepare(bed, ann)
    before = dump(bed)
    broken_log()
    with pytest.raises((sa.exc.DBAPIError, UnavailableError)):
        act()
    assert dump(bed) == before


def test_what_was_not_done_is_not_in_the_log(bed: StoreBed, ann: User) -> None:
    web = bed.service_uuid("web")
    bob = bed.store.add_user("bob", is_admin=False)
    before = bed.store.audit(bed.admin).entries

    def refuse(_: object) -> NewHandler:
        raise ConflictError("no")

    handler = bed.handler("web")
    before = bed.store.audit(bed.admin).entries
    with pytest.raises(ConflictError):
        bed.store.change_handler(ann, web, handler.uuid, refuse)
    with pytest.raises(NotFoundError):
        bed.store.submit(bob, web, Verb.STOP, target=None, origin=ORIGIN)
    with pytest.raises(ConflictError):
        bed.store.forget(ann, web)
    with pytest.raises(ConflictError):
        bed.store.add_user("bob", is_admin=False, by=ann)
    assert bed.store.revoke_keys("nobody", ann) == 0
    assert bed.store.end_sessions(ann) == 0
    assert bed.store.audit(bed.admin).entries == before


def test_a_call_writes_nothing_into_the_log(bed: StoreBed) -> None:
    handler = bed.handler("web")
    before = bed.store.audit(bed.admin).entries
    bed.call(handler)
    bed.finish(bed.claimed())
    assert bed.store.audit(bed.admin).entries == before


def test_a_submitted_action_that_joins_another_says_so(bed: StoreBed, ann: User) -> None:
    for _ in range(2):
        action = bed.store.submit(ann, bed.service_uuid("web"), Verb.REDEPLOY, target=None, origin=ORIGIN)
    assert newest(bed).action_uuid == action.uuid
    assert newest(bed).details == "REDEPLOY (joined a pending one)"


def test_a_scaled_service_says_so_once(bed: StoreBed, ann: User) -> None:
    before = newest(bed).number
    services.change(bed.store, ann, bed.service_uuid("web"), {"target_num_containers": 4}, server_cap=10, origin=ORIGIN)
    assert [each.details for each in bed.store.audit(bed.admin).entries if each.number > before] == ["SCALE to 4"]


def test_what_the_server_does_by_itself_says_so(bed: StoreBed) -> None:
    bed.store.add_user("eve", is_admin=True, key=NewKey(key_sha256=KEY, hint="tutumd_12345"))
    made, added = bed.store.audit(bed.admin, limit=2).entries
    assert (added.what, added.user_name, added.via) == (AuditEvent.USER_ADDED, "the server", Via.COMMAND)
    assert (made.what, made.details) == (AuditEvent.KEY_MADE, "tutumd_12345 of eve, scope admin")
