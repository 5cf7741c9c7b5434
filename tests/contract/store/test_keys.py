"""API keys with limits, and links that sign in once."""

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.stores import StoreBed, at_once, query, snapshot
from tutumd.application import accounts as keys
from tutumd.application.accounts import authenticate, make_login_link, store_key
from tutumd.application.digests import sha256_hex
from tutumd.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError, UnauthorizedError
from tutumd.model import Access, ApiKey, NewSession, Origin, Scope, User
from tutumd.store.objects.sessions import MAX_SESSIONS
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore

DAY = timedelta(days=1)
OTHER_KEY = "x" * 20


@pytest.fixture
def ann(bed: StoreBed) -> User:
    """A member with the service `web` of the stack `shop`."""
    bed.sync(replace(snapshot("web", owner="ann"), stack="shop"), snapshot("db"))
    return bed.store.add_user("ann", is_admin=False)


def make(bed: StoreBed, viewer: User, user_name: str | None = None, **document: object) -> tuple[str, ApiKey]:
    return keys.make_key(bed.store, viewer, {"scope": "admin", **document}, now=bed.clock(), user_name=user_name)


def sign_in(bed: StoreBed, name: str, key: str) -> User:
    return authenticate(bed.store, name, key)


def with_access(user: User, **access: object) -> User:
    return replace(user, access=Access(**access))  # type: ignore[arg-type] # each test says which


def test_a_key_has_what_was_asked_for(bed: StoreBed, ann: User) -> None:
    key, made = make(bed, ann, scope="call", service="shop/web", stack="shop", expires="90d", name=" ci of shop ")
    web = bed.service_uuid("web")
    access = sign_in(bed, "ann", key).access
    assert (access.scope, access.service_uuid, access.stack) == (Scope.CALL, web, "shop")
    assert access.expires == made.expires == bed.clock() + 90 * DAY
    assert (access.credential, access.key_sha256) == (f"{key[:12]} ci of shop", sha256_hex(key))
    assert sign_in(bed, "ann", make(bed, ann)[0]).access.credential.startswith("tutumd_")
    listed, _ = keys.list_keys(bed.store, ann)
    assert listed == replace(made, last_used=bed.clock())
    assert key not in repr(listed)
    keys.revoke_key(bed.store, ann, made.id)
    told = [entry.details for entry in bed.store.audit(bed.admin).entries if entry.what.startswith("key ")]
    assert all(text.startswith(f"{key[:12]} ci of shop of ann") for text in (told[0], told[-1])), told


@pytest.mark.parametrize("name", ["x" * 51, "a\nb", "\x1b[2J"])
def test_a_name_that_no_list_can_show_is_refused(bed: StoreBed, ann: User, name: str) -> None:
    with pytest.raises(InvalidInputError, match="name must have at most 50 printable characters"):
        make(bed, ann, name=name)
    assert make(bed, ann, name="x" * 50)[1].name == "x" * 50


def test_an_expired_key_is_refused_from_that_moment_on(bed: StoreBed, ann: User) -> None:
    key, _ = make(bed, ann, expires="1d")
    bed.clock.move(DAY.total_seconds() - 1)
    user = sign_in(bed, "ann", key)
    bed.store.add_session(user, NewSession(token_sha256="a" * 64, expires=bed.clock() + 14 * DAY))
    assert bed.store.session_user("a" * 64) is not None
    bed.clock.move(1)
    with pytest.raises(UnauthorizedError):
        sign_in(bed, "ann", key)
    assert bed.store.session_user("a" * 64) is None
    assert bed.store.sessions("ann") == ()
    assert len(keys.list_keys(bed.store, ann)) == 1  # listed until it is revoked


def test_a_revoked_key_is_refused_at_once_and_its_sessions_end(bed: StoreBed, ann: User) -> None:
    (key, made), (other, _) = make(bed, ann), make(bed, ann)
    for token, of in (("a" * 64, key), ("b" * 64, other)):
        bed.store.add_session(sign_in(bed, "ann", of), NewSession(token_sha256=token, expires=bed.clock() + DAY))
    user = sign_in(bed, "ann", key)
    keys.revoke_key(bed.store, ann, made.id)
    with pytest.raises(UnauthorizedError):
        sign_in(bed, "ann", key)
    assert bed.store.session_user("a" * 64) is None
    assert bed.store.session_user("b" * 64) is not None
    assert sign_in(bed, "ann", other).name == "ann"
    with pytest.raises(NotFoundError):
        bed.store.add_session(
            user, NewSession(token_sha256="c" * 64, expires=bed.clock() + DAY)
        )  # which it began to do before


LIMITED: Sequence[dict[str, object]] = (
    {"scope": Scope.READ},
    {"scope": Scope.CALL},
    {"scope": Scope.OPERATE},
    {"stack": "shop"},
    {"service_uuid": "x"},
)


@pytest.mark.parametrize("is_admin", [False, True], ids=["member", "admin"])
@pytest.mark.parametrize("access", LIMITED, ids=lambda access: "-".join(map(str, access.values())))
def test_a_limited_key_makes_and_revokes_no_keys(
    bed: StoreBed, ann: User, access: dict[str, object], is_admin: bool
) -> None:
    _, made = make(bed, ann)
    viewer = with_access(replace(ann, is_admin=is_admin), **access)
    for attempt in (
        lambda: make(bed, viewer, scope="read"),
        lambda: keys.revoke_key(bed.store, viewer, made.id),
        lambda: make(bed, viewer, "admin", scope="read"),
    ):
        with pytest.raises(ForbiddenError):
            attempt()
    assert [key.id for key in bed.store.keys("ann")] == [made.id]
    assert bed.store.keys("admin") == ()


def test_an_expiring_key_makes_none_that_lasts_longer(bed: StoreBed, ann: User) -> None:
    key, made = make(bed, ann, expires="10d")
    viewer = sign_in(bed, "ann", key)
    for expires in (None, "", "11d", "2027-01-01"):
        with pytest.raises(ForbiddenError, match="must expire then or before"):
            make(bed, viewer, expires=expires)
    assert make(bed, viewer, expires="10d")[1].expires == made.expires
    bed.store.add_session(viewer, NewSession(token_sha256="a" * 64, expires=bed.clock() + 14 * DAY))
    session = bed.store.session_user("a" * 64)
    assert session is not None
    with pytest.raises(ForbiddenError, match="must expire then or before"):
        make(bed, session)


def test_only_admins_have_to_do_with_keys_of_others(bed: StoreBed, ann: User) -> None:
    _, made = make(bed, ann)
    bob = bed.store.add_user("bob", is_admin=False)
    for attempt in (
        lambda: make(bed, bob, "ann"),
        lambda: keys.list_keys(bed.store, bob, "ann"),
        lambda: keys.list_keys(bed.store, with_access(bed.admin, scope=Scope.OPERATE), "ann"),
        lambda: keys.revoke_key(bed.store, bob, made.id, "ann"),
        lambda: keys.list_keys(bed.store, bob, "nobody"),
    ):
        with pytest.raises(ForbiddenError):
            attempt()
    with pytest.raises(NotFoundError):
        keys.revoke_key(bed.store, bob, made.id)
    _, second = make(bed, bed.admin, "ann", scope="read")
    assert [key.id for key in keys.list_keys(bed.store, bed.admin, "ann")] == [made.id, second.id]
    keys.revoke_key(bed.store, bed.admin, made.id, "ann")
    assert [key.id for key in keys.list_keys(bed.store, ann)] == [second.id]
    with pytest.raises(NotFoundError):
        make(bed, bed.admin, "nobody")


def test_a_narrow_key_lists_itself_alone(bed: StoreBed, ann: User) -> None:
    make(bed, ann)
    key, made = make(bed, ann, scope="read", stack="shop")
    assert [each.id for each in keys.list_keys(bed.store, sign_in(bed, "ann", key))] == [made.id]


def test_an_id_is_no_name_of_a_user(bed: StoreBed, ann: User) -> None:
    """`tutumd apikey revoke NAME` revokes all keys of a user; a request for one key must not."""
    _, made = make(bed, ann)
    for name in ("ann", made.hint, "", "%", "0" * 16, "a\0", "\ud800"):
        with pytest.raises(NotFoundError):
            keys.revoke_key(bed.store, ann, name)
    assert len(bed.store.keys("ann")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"scope": None}, InvalidInputError),
        ({"scope": "all"}, InvalidInputError),
        ({"service": "db"}, NotFoundError),  # another user's
        ({"service": "nothing"}, NotFoundError),
        ({"stack": "nothing"}, NotFoundError),
        ({"service": "web", "stack": "other"}, NotFoundError),
        ({"expires": "0d"}, InvalidInputError),
        ({"expires": "2025-12-31"}, InvalidInputError),
        ({"expires": "soon"}, InvalidInputError),
        ({"expires": "-3d"}, InvalidInputError),
        ({"expires": "9999999d"}, InvalidInputError),
    ],
)
def test_a_wrong_limit_makes_no_key(
    bed: StoreBed, ann: User, document: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        keys.make_key(bed.store, ann, {"scope": "admin", **document}, now=bed.clock())
    assert bed.store.keys("ann") == ()


@pytest.mark.slow
def test_the_use_of_a_key_is_noted_every_five_minutes(bed: StoreBed, ann: User) -> None:
    key, made = make(bed, ann)
    assert made.last_used is None
    first = bed.clock()
    for seconds, expected in ((0, 0), (299, 0), (1, 300)):
        bed.clock.move(seconds)
        sign_in(bed, "ann", key)
        assert bed.store.keys("ann")[0].last_used == first + timedelta(seconds=expected)


def test_a_form_makes_one_key_until_that_is_revoked(bed: StoreBed, ann: User) -> None:
    document = {"scope": "read"}
    key, made = keys.make_key(bed.store, ann, document, now=bed.clock(), form_sha256="f" * 64)
    with pytest.raises(ConflictError, match=f"made the key {key[:12]}… already"):
        keys.make_key(bed.store, ann, document, now=bed.clock(), form_sha256="f" * 64)
    assert keys.list_keys(bed.store, ann) == (made,)
    keys.revoke_key(bed.store, ann, made.id)
    keys.make_key(bed.store, ann, document, now=bed.clock(), form_sha256="f" * 64)
    store_key(bed.store, "ann", OTHER_KEY)
    with pytest.raises(ConflictError, match="this key is that of a user already"):
        store_key(bed.store, "admin", OTHER_KEY)


def token_of(path: str) -> str:
    """Return what is stored of the link of a path."""
    return sha256_hex(path.removeprefix("/sign-in/link/").rstrip("/"))


def use(bed: StoreBed, path: str, token: str = "b" * 64, store: SqlStore | None = None, **more: str) -> User | None:
    new = NewSession(token_sha256=token, expires=bed.clock() + DAY, **more)
    return (store or bed.store).use_login_link(token_of(path), new, Origin(address="192.0.2.7", user_agent="Firefox"))


def test_a_login_link_signs_in_once_within_15_minutes(bed: StoreBed, ann: User) -> None:
    used, late, last = (make_login_link(bed.store, "ann", bed.clock()) for _ in range(3))
    assert len({used, late, last}) == 3
    user = use(bed, used)
    assert user is not None
    assert (user.name, user.access.credential, user.access.scope) == ("ann", "login link", Scope.ADMIN)
    signed_in = bed.store.session_user("b" * 64)
    assert signed_in is not None
    assert (signed_in.name, signed_in.access.credential) == ("ann", "login link")
    assert use(bed, used, "c" * 64) is None
    bed.clock.move(15 * 60 - 1)
    assert use(bed, last, "c" * 64) is not None
    bed.clock.move(1)
    assert use(bed, late, "d" * 64) is None
    assert [session.address for session in bed.store.sessions("ann")] == ["192.0.2.7"] * 2
    with pytest.raises(NotFoundError):
        make_login_link(bed.store, "nobody", bed.clock())


def test_of_two_uses_of_a_login_link_at_once_one_wins(bed: StoreBed, ann: User) -> None:
    for _ in range(5):
        path = make_login_link(bed.store, "ann", bed.clock())
        used = at_once(bed, lambda store, _, path=path: use(bed, path, secrets.token_hex(32), store))  # type: ignore[misc] # early binding
        assert sum(user is not None for user in used) == 1


def test_a_login_link_that_begins_no_session_is_not_used_up(bed: StoreBed, ann: User) -> None:
    path = make_login_link(bed.store, "ann", bed.clock())
    bed.store.add_session(ann, NewSession(token_sha256="a" * 64, expires=bed.clock() + DAY))
    with pytest.raises(IntegrityError):  # as if the disk were full: another session has the token
        use(bed, path, "a" * 64)
    assert use(bed, path, "c" * 64, replaces="a" * 64) is not None
    assert bed.store.session_user("a" * 64) is None
    assert bed.store.session_user("c" * 64) is not None


def test_a_login_link_and_the_removal_of_its_user_do_not_wait_for_each_other(bed: StoreBed) -> None:
    other = SqlStore(bed.database, bed.clock, Wakeup())
    for number in range(10):
        name, start = f"user-{number}", Barrier(2)
        bed.store.add_user(name, is_admin=False)
        path = make_login_link(bed.store, name, bed.clock())

        def remove(name: str = name, start: Barrier = start) -> int:
            start.wait(120)
            return other.remove_user(name)

        with ThreadPoolExecutor(1) as pool:
            removed = pool.submit(remove)
            start.wait(120)
            use(bed, path, f"{number:064}")
            assert removed.result(120) == 0
        assert bed.store.session_user(f"{number:064}") is None


def test_a_link_of_a_removed_user_ends(bed: StoreBed, ann: User) -> None:
    path = make_login_link(bed.store, "ann", bed.clock())
    bed.store.remove_user("ann")
    assert use(bed, path) is None


def test_a_narrow_key_of_a_service_that_went_to_another_owner_sees_nothing(bed: StoreBed, ann: User) -> None:
    key, _ = make(bed, ann, service="web")
    assert bed.store.services(sign_in(bed, "ann", key), query()).total == 1
    bed.sync(replace(snapshot("web", owner="bob"), stack="shop"), snapshot("db"))
    assert bed.store.services(sign_in(bed, "ann", key), query()).total == 0


def test_a_key_has_so_many_sessions_and_ends_none_of_another(bed: StoreBed, ann: User) -> None:
    tokens = [f"{number:064}" for number in range(MAX_SESSIONS + 1)]
    bed.store.add_session(ann, NewSession(token_sha256="a" * 64, expires=bed.clock() + DAY))
    user = sign_in(bed, "ann", make(bed, ann)[0])
    for token in tokens:
        bed.store.add_session(user, NewSession(token_sha256=token, expires=bed.clock() + DAY))
    assert len(bed.store.sessions("ann")) == MAX_SESSIONS + 1
    assert bed.store.session_user(tokens[0]) is None
    assert bed.store.session_user(tokens[1]) is not None
    assert bed.store.session_user("a" * 64) is not None
