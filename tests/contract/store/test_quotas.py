"""How much one user may have and make, however it is made, and also with requests at once."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.support.replica import Replica
from tests.support.stores import StoreBed, at_once, snapshot
from tutumd.application import accounts as keys
from tutumd.application.digests import sha256_hex
from tutumd.errors import ConflictError, TooManyCallsError
from tutumd.model import Access, AuditEntry, AuditEvent, Handler, NewHandler, NewKey, NewSession, Operation, User, Via
from tutumd.store.objects import accounts
from tutumd.store.objects.audit import COMBINED_FOR, MAX_A_DAY
from tutumd.store.objects.sessions import MAX_SESSIONS_OF_USER
from tutumd.store.store import SqlStore

DAY = timedelta(days=1)
NEW = NewHandler(name="hook", operation=Operation.REDEPLOY)
_NUMBERS = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count})"


def add_key(store: SqlStore, name: str) -> str:
    key = keys.generate_key()
    keys.store_key(store, name, key)
    return key


@pytest.fixture
def ann(bed: StoreBed) -> User:
    """A member with the service `web`."""
    bed.sync(snapshot("web", owner="ann"), snapshot("db"))
    user = bed.store.add_user("ann", is_admin=False)
    return replace(user, access=Access(via=Via.API, credential="tutumd_ann", address="192.0.2.7", user_agent="curl"))


def fill(bed: StoreBed, table: str, count: int, **columns: str) -> None:
    """Insert rows. The values are SQL, in which `i` is the number of the row."""
    names, values = ", ".join(columns), ", ".join(columns.values())
    with bed.database.write() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {table} ({names}) {_NUMBERS.format(count=count)} SELECT {values} FROM numbers"
        )


def fill_keys(bed: StoreBed, user: User, count: int) -> None:
    columns = {"user_uuid": f"'{user.uuid}'", "hint": "'old'", "created": "0", "scope": "'admin'"}
    fill(bed, "api_keys", count, key_sha256="'key' || i", **columns)


def fill_handlers(bed: StoreBed, user: User, count: int) -> None:
    service = bed.service_uuid("web")
    columns = {"uuid": "'handler' || i", "service_uuid": f"'{service}'", "operation": "'REDEPLOY'", "created": "0"}
    fill(bed, "handlers", count, **columns, maker_uuid=f"'{user.uuid}'")


def fill_log(bed: StoreBed, user: User, count: int, what: AuditEvent = AuditEvent.ACTION_SUBMITTED) -> None:
    """Write entries that differ in their details."""
    columns = dict.fromkeys(("address", "user_agent", "service_name", "stack"), "''")
    columns |= {"credential": f"'{user.access.credential}'", "details": "i", "via": "'api'", "what": f"'{what}'"}
    now_us = int(bed.clock().timestamp() * 1_000_000)
    fill(bed, "audit", count, at=str(now_us), user_name=f"'{user.name}'", **columns)


def use_up_the_day(bed: StoreBed) -> None:
    """Let `ann` have got as many keys and URLs as she may get in a day."""
    with bed.database.write() as connection:
        full_us = int((bed.clock() + DAY).timestamp() * 1_000_000)
        connection.execute(sa.text("UPDATE users SET keys_tat = :at WHERE name = 'ann'"), {"at": full_us})


def entries(bed: StoreBed, what: AuditEvent, user: str = "ann") -> list[AuditEntry]:
    return [
        each for each in bed.store.audit(bed.admin, limit=200).entries if (each.what, each.user_name) == (what, user)
    ]


def has_room(bed: StoreBed, act: Callable[[SqlStore, int], object]) -> list[bool]:
    """Do something in four replicas at once, and return for each whether there was still room."""
    return [not isinstance(result, ConflictError) for result in at_once(bed, act)]


@pytest.mark.dialect
def test_a_user_has_so_many_keys_and_can_revoke_one_to_go_on(bed: StoreBed, ann: User) -> None:
    fill_keys(bed, ann, accounts.MAX_KEYS - 2)
    assert sorted(has_room(bed, lambda store, _: add_key(store, "ann"))) == [False, False, True, True]
    with pytest.raises(ConflictError, match="ann has 1,000 API keys, and may not have more: revoke those not in use"):
        keys.make_key(bed.store, bed.admin, {"scope": "read"}, now=bed.clock(), user_name="ann")
    keys.make_key(bed.store, bed.admin, {"scope": "read"}, now=bed.clock())
    bed.store.revoke_key("ann", "key1"[:16])
    keys.make_key(bed.store, ann, {"scope": "read"}, now=bed.clock())


def test_keys_that_are_revoked_at_once_count_within_a_day(bed: StoreBed, ann: User) -> None:
    use_up_the_day(bed)
    with pytest.raises(TooManyCallsError, match="ann got 1,000 API keys or 10,000 URLs of handlers within a day"):
        add_key(bed.store, "ann")
    assert bed.store.keys("ann") == ()
    bed.clock.move(DAY.total_seconds() / accounts.MAX_KEYS_A_DAY)
    add_key(bed.store, "ann")
    add_key(bed.store, "admin")


def test_new_handlers_and_new_urls_count_within_a_day(bed: StoreBed, ann: User) -> None:
    web = bed.service_uuid("web")
    (handler,) = bed.store.add_handlers(ann, web, [NEW])
    use_up_the_day(bed)

    def rotate() -> None:
        nonlocal handler
        handler = bed.store.rotate_handler(ann, web, handler.uuid, bed.clock())

    def make() -> None:
        bed.store.delete_handler(ann, web, bed.store.add_handlers(ann, web, [NEW])[0].uuid)

    def send() -> None:
        bed.store.add_handler_once(ann, web, replace(NEW, name="form"), "form")

    for get in (rotate, make, send):
        with pytest.raises(TooManyCallsError, match="10,000 URLs of handlers within a day"):
            get()
        bed.clock.move(DAY.total_seconds() / accounts.MAX_HANDLERS)
        get()
    with pytest.raises(TooManyCallsError):
        rotate()
    assert bed.store.handler(ann, web, handler.uuid).uuid == handler.uuid, "it keeps its URL"
    bed.clock.move(DAY.total_seconds() / accounts.MAX_HANDLERS)
    with pytest.raises(TooManyCallsError):
        bed.store.add_handlers(ann, web, [NEW] * 2)
    bed.store.add_handlers(bed.admin, web, [NEW])


def test_keys_that_have_expired_do_not_count(bed: StoreBed, ann: User) -> None:
    fill_keys(bed, ann, accounts.MAX_KEYS)
    soon = int((bed.clock() + DAY).timestamp() * 1_000_000)
    with bed.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE api_keys SET expires = {soon} WHERE key_sha256 LIKE 'key%%'")
    with pytest.raises(ConflictError, match="ann has 1,000 API keys"):
        add_key(bed.store, "ann")
    bed.clock.move(DAY.total_seconds())
    add_key(bed.store, "ann")


def test_a_key_that_expired_long_ago_is_deleted(bed: StoreBed, ann: User) -> None:
    for days in (1, 5, None):
        new = NewKey(key_sha256=f"{days}", hint=f"{days}", expires=bed.clock() + days * DAY if days else None)
        bed.store.add_key("ann", new)
    bed.clock.move(3.5 * DAY.total_seconds())
    bed.queue.prune(2 * DAY, 100)
    assert [key.hint for key in bed.store.keys("ann")] == ["5", "None"]


@pytest.mark.slow
@pytest.mark.dialect
def test_a_member_makes_so_many_handlers_and_can_revoke_one_to_go_on(bed: StoreBed, ann: User) -> None:
    fill_handlers(bed, ann, accounts.MAX_HANDLERS - 2)
    web = bed.service_uuid("web")
    with pytest.raises(ConflictError, match="at most 10,000 webhook handlers: revoke those not in use"):
        bed.store.add_handlers(ann, web, [NEW] * 3)

    def send(store: SqlStore, number: int) -> tuple[Handler, bool]:
        return store.add_handler_once(ann, web, replace(NEW, name=f"hook {number}"), f"form {number}")

    made = has_room(bed, send)
    assert sorted(made) == [False, False, True, True]
    with pytest.raises(ConflictError):
        bed.store.add_handlers(ann, web, [NEW])
    again, is_new = send(bed.store, made.index(True))
    assert not is_new, "a form that was sent twice"
    bed.store.add_handlers(bed.admin, web, [NEW])
    bed.store.delete_handler(ann, web, again.uuid)
    bed.store.add_handlers(ann, web, [NEW])


@pytest.mark.slow
def test_a_request_beyond_the_limit_gets_a_409_that_says_what_to_do(bed: StoreBed, replica: Replica) -> None:
    root = next(user for user in bed.store.users() if user.name == "root")
    fill_keys(bed, root, accounts.MAX_KEYS)
    status, answer = replica.request("POST", "/api/v1/apikey/", json.dumps({"scope": "read"}).encode())
    assert (status, "revoke those not in use" in answer["error"]) == (409, True)
    fill_handlers(bed, root, accounts.MAX_HANDLERS_OF_ADMIN)
    path = f"/api/v1/service/{bed.service_uuid('web')}/webhook/handler/"
    for body in (b"{}", b'[{"name": null}]'):
        status, answer = replica.request("POST", path, body)
        assert (status, "tutum webhook-handler unused" in answer["error"]) == (409, True)


@pytest.mark.dialect
def test_a_sign_in_beyond_the_limit_ends_the_oldest_session_of_the_user(bed: StoreBed, ann: User) -> None:
    texts = dict.fromkeys(("credential", "address", "user_agent"), "''")
    times = {"created": "0", "last_seen": "0", "expires": str(2**52)}
    columns = {"token_sha256": "'token' || i", "user_uuid": f"'{ann.uuid}'", **times, **texts}
    fill(bed, "sessions", MAX_SESSIONS_OF_USER, **columns)
    key = add_key(bed.store, "ann")
    user = bed.store.user_by_key(sha256_hex(key))
    assert user is not None

    def begin(store: SqlStore, number: int) -> None:
        store.add_session(user, NewSession(token_sha256=f"new {number}", expires=bed.clock() + DAY))

    assert all(has_room(bed, begin))
    assert len(bed.store.sessions("ann")) == MAX_SESSIONS_OF_USER
    assert bed.store.session_user("token4") is None
    assert bed.store.session_user("token5") is not None
    assert [entry.count for entry in entries(bed, AuditEvent.SESSION_ENDED)] == [4]


def test_what_is_repeated_within_an_hour_is_one_entry_with_its_number(bed: StoreBed, ann: User) -> None:
    first = bed.clock()
    for number in range(5):
        bed.store.add_session(ann, NewSession(token_sha256=f"token {number}", expires=bed.clock() + DAY))
        bed.store.end_sessions(ann)
        bed.clock.move(60)
    for what in (AuditEvent.SESSION_STARTED, AuditEvent.SESSION_ENDED):
        (entry,) = entries(bed, what)
        assert (entry.count, entry.at, entry.last_at) == (5, first, bed.clock() - timedelta(seconds=60))
    elsewhere = replace(ann, access=replace(ann.access, address="192.0.2.8"))
    bed.store.add_session(elsewhere, NewSession(token_sha256="other", expires=bed.clock() + DAY))
    assert [entry.count for entry in entries(bed, AuditEvent.SESSION_STARTED)] == [1, 5]
    bed.clock.move(COMBINED_FOR.total_seconds())
    bed.store.add_session(ann, NewSession(token_sha256="later", expires=bed.clock() + DAY))
    assert [entry.count for entry in entries(bed, AuditEvent.SESSION_STARTED)] == [1, 1, 5]


@pytest.mark.dialect
def test_a_user_with_very_many_entries_gets_one_for_all_of_a_kind_but_for_credentials(bed: StoreBed, ann: User) -> None:
    web = bed.service_uuid("web")
    made = bed.store.add_handlers(ann, web, [NEW] * 3)
    fill_log(bed, ann, MAX_A_DAY)

    def change(user: User) -> None:
        for handler in made:
            bed.store.change_handler(user, web, handler.uuid, lambda _: NEW)

    change(ann)
    change(bed.admin)
    assert [each.count for each in entries(bed, AuditEvent.HANDLER_CHANGED)] == [3]
    assert [each.count for each in entries(bed, AuditEvent.HANDLER_CHANGED, "admin")] == [1, 1, 1]
    change(replace(ann, access=replace(ann.access, credential="tutumd_other")))
    assert [each.count for each in entries(bed, AuditEvent.HANDLER_CHANGED)] == [3, 3], "by another key"
    for _ in range(3):
        keys.make_key(bed.store, ann, {"scope": "read"}, now=bed.clock())
    for key in bed.store.keys("ann"):
        bed.store.revoke_key("ann", key.id, ann)
    for what in (AuditEvent.KEY_MADE, AuditEvent.KEY_REVOKED):
        assert [each.count for each in entries(bed, what)] == [1, 1, 1]
    bed.clock.move(DAY.total_seconds())
    change(ann)
    assert [each.count for each in entries(bed, AuditEvent.HANDLER_CHANGED)] == [1, 1, 1, 3, 3]


def test_what_concerns_credentials_keeps_its_handler_and_address_among_very_many_entries(
    bed: StoreBed, ann: User
) -> None:
    web, db = bed.service_uuid("web"), bed.handler("db")
    (own,) = bed.store.add_handlers(ann, web, [NEW])
    bed.store.delete_handler(ann, web, own.uuid)
    bed.store.add_session(ann, NewSession(token_sha256="here", expires=bed.clock() + DAY))
    fill_log(bed, ann, MAX_A_DAY + 1, AuditEvent.HANDLER_CHANGED)
    elsewhere = replace(ann, is_admin=True, access=replace(ann.access, address="198.51.100.9"))
    (new,) = bed.store.add_handlers(elsewhere, web, [NEW])
    for _ in range(2):
        new = bed.store.rotate_handler(elsewhere, web, new.uuid, bed.clock())
    rotated = bed.store.rotate_handler(elsewhere, db.service_uuid, db.uuid, bed.clock())
    bed.store.delete_handler(elsewhere, web, new.uuid)
    bed.store.delete_handler(elsewhere, db.service_uuid, rotated.uuid)
    bed.store.add_session(elsewhere, NewSession(token_sha256="there", expires=bed.clock() + DAY))
    bed.store.end_sessions(elsewhere)

    def found(what: AuditEvent) -> list[tuple[int | None, str, int]]:
        return [
            (each.handler_number, each.service_name, each.count)
            for each in entries(bed, what)
            if each.address == "198.51.100.9"
        ]

    assert found(AuditEvent.HANDLER_CREATED) == [(new.number, "web", 1)]
    assert found(AuditEvent.HANDLER_ROTATED) == [(db.number, "db", 1), (new.number, "web", 2)]
    assert found(AuditEvent.HANDLER_REVOKED) == [(db.number, "db", 1), (new.number, "web", 1)]
    assert found(AuditEvent.SESSION_STARTED) == [(None, "", 1)]
    assert found(AuditEvent.SESSION_ENDED) == [(None, "", 2)]
