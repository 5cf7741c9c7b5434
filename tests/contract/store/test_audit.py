"""The audit log: each change and its entry are stored together, or neither is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.stores import ORIGIN, StoreBed, query, snapshot
from tutumd.application import services
from tutumd.errors import ConflictError, NotFoundError, UnavailableError
from tutumd.model import (
    Access,
    AuditEntry,
    AuditEvent,
    AuditFilters,
    Definition,
    NewHandler,
    NewKey,
    NewSession,
    Operation,
    Scope,
    User,
    Verb,
    Via,
)
from tutumd.store.tables.schema import metadata

KEY, OTHER_KEY, TOKEN, LINK = "aa" * 32, "dd" * 32, "bb" * 32, "cc" * 32
"""SHA-256 of two keys, of a session's token and of a login link."""
NEW = NewHandler(name="hook", operation=Operation.REDEPLOY)
DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in (10, 11, 12)]
SECRETS = ("enc:v1:s3cr3t", "v4lue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that a user does, and what the log then tells.

    Attributes:
        prepare: Returns what is to be done, from the store and the user.
        details: What the entry says beside the event.
    """

    event: AuditEvent
    prepare: Callable[[StoreBed, User], Callable[[], object]]
    details: str = ""


def _with_handler(
    do: Callable[[StoreBed, User, str, str], object],
) -> Callable[[StoreBed, User], Callable[[], object]]:
    def prepare(bed: StoreBed, user: User) -> Callable[[], object]:
        handler = bed.store.add_handlers(user, bed.service_uuid("web"), [NEW])[0]
        return lambda: do(bed, user, handler.service_uuid, handler.uuid)

    return prepare


def _with_action(do: Callable[[StoreBed, User, str], object]) -> Callable[[StoreBed, User], Callable[[], object]]:
    def prepare(bed: StoreBed, user: User) -> Callable[[], object]:
        action = bed.store.submit(user, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
        return lambda: do(bed, user, action.uuid)

    return prepare


def _abandon(bed: StoreBed, user: User) -> Callable[[], object]:
    action = bed.store.submit(user, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
    bed.claimed()
    return lambda: bed.store.abandon(user, action.uuid)


def _retry(bed: StoreBed, user: User) -> Callable[[], object]:
    action = bed.store.submit(user, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
    bed.store.cancel(user, action.uuid)
    return lambda: bed.store.retry(user, action.uuid, ORIGIN)


def _repeat(bed: StoreBed, user: User) -> Callable[[], object]:
    handler = bed.handler("web")
    bed.call(handler)
    number = bed.store.deliveries(user, handler.service_uuid, handler.uuid, query()).objects[0].number
    return lambda: bed.store.record_redelivery(user, handler.service_uuid, handler.uuid, number)


def _create(bed: StoreBed, user: User) -> object:
    return bed.store.create_service(
        user, engine="docker", name="made", image="none", definition=Definition(command="id"), target=1
    )


def _update(bed: StoreBed, user: User) -> Callable[[], object]:
    made: Any = _create(bed, user)
    definition = Definition(command="id", envvars={"PASSWORD": SECRETS[1]})
    return lambda: bed.store.update_service(user, made.uuid, definition=definition, image="none", target=3)


def _forget(bed: StoreBed, user: User) -> Callable[[], object]:
    bed.handler("web")
    web = bed.service_uuid("web")
    bed.show("db")
    return lambda: bed.store.forget(user, web)


def _remove_user(bed: StoreBed, user: User) -> Callable[[], object]:
    bed.store.add_user("bob", is_admin=False)
    return lambda: bed.store.remove_user("bob", user)


def _revoke_key(bed: StoreBed, user: User) -> Callable[[], object]:
    bed.store.add_key(user.name, NewKey(key_sha256=OTHER_KEY, hint="tutumd_67890"))
    return lambda: bed.store.revoke_keys("tutumd_67890", user)


def _end_session(bed: StoreBed, user: User) -> Callable[[], object]:
    number = bed.store.add_session(user, NewSession(token_sha256=TOKEN, expires=bed.clock() + timedelta(days=1)))
    return lambda: bed.store.end_sessions(user, number)


def _soon(bed: StoreBed) -> datetime:
    return bed.clock() + timedelta(days=1)


CHANGED = NewHandler(name="hook", operation=Operation.REDEPLOY, options={"verify": {"secrets": [SECRETS[0]]}})
LIMITED = NewKey(key_sha256=KEY, hint="tutumd_12345", scope=Scope.CALL, stack="shop")
CHANGES = (
    Change(
        event=AuditEvent.HANDLER_CREATED,
        prepare=lambda bed, user: lambda: bed.store.add_handlers(user, bed.service_uuid("web"), [NEW]),
        details="REDEPLOY 'hook'",
    ),
    Change(
        event=AuditEvent.HANDLER_CHANGED,
        prepare=_with_handler(lambda bed, user, *uuids: bed.store.change_handler(user, *uuids, lambda _: CHANGED)),
        details="REDEPLOY 'hook'; changed: verify",
    ),
    Change(
        event=AuditEvent.HANDLER_ROTATED,
        prepare=_with_handler(lambda bed, user, *uuids: bed.store.rotate_handler(user, *uuids, _soon(bed))),
        details="REDEPLOY 'hook'; the old URL is accepted until 2026-01-02 00:00:00 UTC",
    ),
    Change(
        event=AuditEvent.HANDLER_REVOKED,
        prepare=_with_handler(lambda bed, user, *uuids: bed.store.delete_handler(user, *uuids)),
        details="REDEPLOY 'hook'",
    ),
    Change(
        event=AuditEvent.ACTION_SUBMITTED,
        prepare=lambda bed, user: (
            lambda: bed.store.submit(user, bed.service_uuid("web"), Verb.SCALE, target=5, origin=ORIGIN)
        ),
        details="SCALE to 5",
    ),
    Change(
        event=AuditEvent.ACTION_CANCELED,
        prepare=_with_action(lambda bed, user, uuid: bed.store.cancel(user, uuid)),
        details="STOP",
    ),
    Change(event=AuditEvent.ACTION_ABANDONED, prepare=_abandon, details="STOP"),
    Change(event=AuditEvent.ACTION_RETRIED, prepare=_retry, details="STOP, as action "),
    Change(event=AuditEvent.DELIVERY_REPEATED, prepare=_repeat, details="delivery 1"),
    Change(event=AuditEvent.SERVICE_CREATED, prepare=lambda bed, user: lambda: _create(bed, user)),
    Change(
        event=AuditEvent.SERVICE_CHANGED,
        prepare=_update,
        details="changed: envvars, target_num_containers to 3",
    ),
    Change(event=AuditEvent.SERVICE_FORGOTTEN, prepare=_forget, details="handlers revoked: 1"),
    Change(
        event=AuditEvent.USER_ADDED,
        prepare=lambda bed, user: lambda: bed.store.add_user("bob", is_admin=False, by=user),
        details="bob, a member",
    ),
    Change(event=AuditEvent.USER_REMOVED, prepare=_remove_user, details="bob"),
    Change(
        event=AuditEvent.KEY_MADE,
        prepare=lambda bed, user: lambda: bed.store.add_key(user.name, replace(LIMITED, expires=_soon(bed)), user),
        details="tutumd_12345 of ann, scope call, stack shop, until 2026-01-02 00:00 UTC",
    ),
    Change(event=AuditEvent.KEY_REVOKED, prepare=_revoke_key, details="tutumd_67890 of ann"),
    Change(
        event=AuditEvent.LOGIN_LINK_MADE,
        prepare=lambda bed, user: lambda: bed.store.add_login_link(user.name, LINK, _soon(bed), user),
        details="for ann",
    ),
    Change(
        event=AuditEvent.SESSION_STARTED,
        prepare=lambda bed, user: partial(
            bed.store.add_session, user, NewSession(token_sha256=TOKEN, expires=_soon(bed))
        ),
        details="session 1",
    ),
    Change(event=AuditEvent.SESSION_ENDED, prepare=_end_session, details="session 1"),
)


@pytest.fixture
def ann(bed: StoreBed) -> User:
    """An admin with a page of the dashboard."""
    bed.sync(replace(snapshot("web"), stack="shop"), snapshot("db"))
    user = bed.store.add_user("ann", is_admin=True)
    access = Access(via=Via.PAGE, credential="login link", address="192.0.2.7", user_agent="Firefox\0 \ud800")
    return replace(user, access=access)


def newest(bed: StoreBed) -> AuditEntry:
    return bed.store.audit(bed.admin, limit=1).entries[0]


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
    assert [change.event for change in CHANGES] == list(AuditEvent)


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
    is_about_service = change.event.split()[0] in ("handler", "action", "delivery", "service")
    assert (entry.service_name in ("shop/web", "made")) == is_about_service
    assert (entry.handler_number is not None) == (change.event.split()[0] in ("handler", "delivery"))
    assert (entry.action_uuid is not None) == (change.event.split()[0] == "action")
    with bed.database.read() as connection:
        text = repr(connection.execute(sa.text("SELECT * FROM audit")).all())
    for credential in (*credentials, *uuids_of_handlers(bed), KEY[:16], OTHER_KEY[:16], TOKEN, LINK, *SECRETS):
        assert credential not in text


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


def test_all_see_what_they_did_and_admins_what_everybody_did(bed: StoreBed, ann: User) -> None:
    bob = bed.store.add_user("bob", is_admin=False, by=ann)
    bed.show("web", "db", owner="bob")
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    for service in (web, db):
        bed.store.add_handlers(bob, service, [NEW])
    bed.store.add_handlers(replace(bob, access=Access(via=Via.COMMAND)), web, [NEW])

    def seen(viewer: User) -> set[tuple[str, str | None]]:
        return {(each.user_name, each.service_uuid) for each in bed.store.audit(viewer).entries}

    everything = {("the server", None), ("ann", None), ("bob", web), ("bob", db)}
    assert seen(bed.admin) == seen(ann) == everything
    assert seen(bob) == {("bob", web), ("bob", db)}
    assert len(bed.store.audit(bob).entries) == 2  # without what the user `bob` of the operating system did
    for scope in (Scope.READ, Scope.CALL, Scope.OPERATE):
        assert seen(replace(ann, access=Access(scope=scope))) == {("ann", None)}
    assert seen(replace(ann, access=Access(service_uuid=web))) == set()
    assert seen(replace(bob, access=Access(service_uuid=web))) == {("bob", web)}
    assert seen(replace(bob, access=Access(stack="shop"))) == set()
    bed.sync(replace(snapshot("web", owner="bob"), stack="shop"), snapshot("db", owner="bob"))
    for service in (web, db):
        bed.store.add_handlers(bob, service, [NEW])
    bed.show("web", "db", owner="bob")
    assert seen(replace(bob, access=Access(stack="shop"))) == {("bob", web)}  # as it was then
    assert seen(replace(bob, access=Access(stack="shop", service_uuid=db))) == set()


def test_a_namesake_of_a_removed_user_sees_nothing_of_theirs(bed: StoreBed) -> None:
    bed.show("web", owner="bob")
    bob = bed.store.add_user("bob", is_admin=False)
    bed.store.add_handlers(bob, bed.service_uuid("web"), [NEW])
    assert len(bed.store.audit(bob).entries) == 1
    bed.store.remove_user("bob")
    bed.clock.move(1)
    assert bed.store.audit(bed.store.add_user("bob", is_admin=False)).entries == ()


def test_the_log_is_read_in_pages(bed: StoreBed, ann: User) -> None:
    for _ in range(5):
        bed.store.add_handlers(ann, bed.service_uuid("web"), [NEW])
    whole = bed.store.audit(ann).entries
    assert [each.number for each in whole] == sorted((each.number for each in whole), reverse=True)
    pages: list[AuditEntry] = []
    while page := bed.store.audit(ann, before=pages[-1].number if pages else None, limit=2).entries:
        pages += page
        bed.store.add_handlers(ann, bed.service_uuid("web"), [NEW])  # changes no later page
    assert tuple(pages) == whole


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (AuditFilters(), "abcde"),
        (AuditFilters(user_name="bob"), "bd"),
        (AuditFilters(what="handler revoked"), "cd"),
        (AuditFilters(via=Via.PAGE), "abc"),
        (AuditFilters(via=Via.API), "de"),
        (AuditFilters(service_name="shop/web"), "ac"),
        (AuditFilters(stack="shop"), "ac"),
        (AuditFilters(stack="other"), ""),
        (AuditFilters(since=DAYS[1]), "cde"),
        (AuditFilters(until=DAYS[1]), "ab"),
        (AuditFilters(since=DAYS[1], until=DAYS[2]), "cd"),
        (AuditFilters(since=DAYS[2], until=DAYS[1]), ""),
        (AuditFilters(user_name="ann", what="handler created", stack="shop", via=Via.PAGE, until=DAYS[1]), "a"),
        (AuditFilters(user_name="bob", what="handler created", since=DAYS[1]), ""),
    ],
)
def test_filters_choose_entries(bed: StoreBed, ann: User, filters: AuditFilters, wanted: str) -> None:
    bob = replace(bed.store.add_user("bob", is_admin=True), access=Access(via=Via.API))
    start = newest(bed).number
    web, db = bed.service_uuid("web"), bed.service_uuid("db")
    bed.clock.move((DAYS[0] - bed.clock()).total_seconds())
    (of_web,) = bed.store.add_handlers(ann, web, [NEW])  # a
    (of_db,) = bed.store.add_handlers(replace(bob, access=ann.access), db, [NEW])  # b
    bed.clock.move(86_400)
    bed.store.delete_handler(ann, web, of_web.uuid)  # c
    bed.store.delete_handler(bob, db, of_db.uuid)  # d
    bed.clock.move(86_400)
    bed.store.add_handlers(replace(ann, access=bob.access), db, [NEW])  # e
    found = bed.store.audit(ann, filters).entries
    assert "".join("abcde"[each.number - start - 1] for each in reversed(found) if each.number > start) == wanted
    of_bob = bed.store.audit(replace(bob, is_admin=False), filters).entries
    assert [each for each in found if each.user_name == "bob" and each.number > start] == list(of_bob)


def test_a_page_looks_through_so_many_entries_and_says_where_to_go_on(bed: StoreBed, ann: User) -> None:
    bed.store.add_handlers(ann, bed.service_uuid("web"), [NEW])
    columns = ", ".join(column.name for column in metadata.tables["audit"].c if column.name not in ("seq", "what"))
    with bed.database.write() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO audit (what, {columns}) WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                f" FROM numbers WHERE i < 4100) SELECT 'action retried', {columns} FROM numbers, audit"
                f" WHERE what = 'handler created'"
            )
        )
    both = AuditFilters(user_name="ann", what="handler created")
    assert len(bed.store.audit(ann, AuditFilters(what="handler created")).entries) == 1
    pages = [bed.store.audit(ann, both)]
    while (below := pages[-1].next) is not None:
        pages.append(bed.store.audit(ann, both, before=below))
    assert [len(page.entries) for page in pages] == [0, 0, 0, 0, 1]


def test_members_cannot_tell_that_others_did_something(bed: StoreBed, ann: User) -> None:
    bob = replace(bed.store.add_user("bob", is_admin=False), access=Access(via=Via.API))
    with bed.database.write() as connection:
        connection.execute(
            sa.insert(metadata.tables["audit"]),
            [
                dict.fromkeys(("credential", "address", "user_agent", "details"), "")
                | {"at": bed.clock(), "user_name": "ann", "via": "api", "what": "handler created"}
                | {"service_name": "shop/web", "stack": "shop"}
            ]
            * 1_100,
        )
    for filters in (
        AuditFilters(service_name="shop/web"),
        AuditFilters(stack="shop"),
        AuditFilters(user_name="ann"),
        AuditFilters(what="handler created"),
        AuditFilters(via=Via.API),
        AuditFilters(since=bed.clock(), until=bed.clock()),
    ):
        page = bed.store.audit(bob, filters)
        assert (page.entries, page.next) == ((), None), filters


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
    bed.store.add_session(ann, NewSession(token_sha256=TOKEN, expires=_soon(bed)))
    bed.store.add_login_link(ann.name, LINK, _soon(bed))
    again = NewSession(token_sha256=OTHER_KEY, expires=_soon(bed), replaces=TOKEN)
    before = bed.store.ended
    if is_by_link:
        bed.store.use_login_link(LINK, again, ORIGIN)
    else:
        bed.store.add_session(ann, again)
    assert bed.store.session_user(TOKEN) is None
    assert bed.store.ended > before
