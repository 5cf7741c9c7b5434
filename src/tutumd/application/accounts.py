"""Users, how they sign in, and their API keys. A key cannot create a key with more rights or a later expiry than its
own.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tutumd.application import services
from tutumd.application.admission.json_checks import check_choice, is_storable
from tutumd.application.digests import sha256_hex
from tutumd.application.queries import parse_until
from tutumd.application.scopes import require_admin, require_everything, require_scope
from tutumd.errors import NOT_FOUND, ForbiddenError, InvalidInputError, NotFoundError, UnauthorizedError, about
from tutumd.model import ApiKey, NewKey, Scope, User
from tutumd.ports import Accounts, Store

KEY_PREFIX = "tutumd_"
"""Prefix of generated keys. Scanners for leaked secrets recognize it."""

MIN_KEY_LENGTH = 20
HINT_LENGTH = 12
MAX_NAME_LENGTH = 50


def authenticate(accounts: Accounts, user_name: str, key: str) -> User:
    """Return the user with a name and an API key. Raises UnauthorizedError, with the same text for every reason."""
    user = accounts.user_by_key(sha256_hex(key)) if user_name and key else None
    if user is None or user.name != user_name:
        raise UnauthorizedError("wrong user or API key")
    return user


def add_user(accounts: Accounts, name: str, *, is_admin: bool, key: str | None = None, by: User | None = None) -> User:
    """Add a user and, if a key is given, that key in the same transaction.

    Raises InvalidInputError as `check_name` and `check_key`.
    """
    check_name(name)
    return accounts.add_user(name, is_admin=is_admin, key=None if key is None else _new_key(key), by=by)


def store_key(accounts: Accounts, user_name: str, key: str, by: User | None = None) -> None:
    """Store a key that was chosen elsewhere. Raises InvalidInputError as `check_key`."""
    accounts.add_key(user_name, _new_key(key), by)


def make_login_link(accounts: Accounts, user_name: str, now: datetime, by: User | None = None) -> str:
    """Return the path of a page that signs a user in once, within 15 minutes. Only a hash of the link is stored."""
    token = secrets.token_urlsafe(32)
    accounts.add_login_link(user_name, sha256_hex(token), now + timedelta(minutes=15), by)
    return f"/sign-in/link/{token}/"


def check_name(name: str) -> None:
    """Raise InvalidInputError if an Authorization header cannot carry the user name."""
    if not 1 <= len(name) <= 100 or not name.isprintable() or any(char in " :\\" for char in name):
        raise InvalidInputError(
            "a user's name must be 1 to 100 printable characters without space, colon and backslash"
        )


def check_key(key: str) -> None:
    """Raise InvalidInputError if a key is too short for a secret or cannot be sent."""
    if len(key) < MIN_KEY_LENGTH or not key.isprintable() or " " in key:
        raise InvalidInputError(f"an API key must be {MIN_KEY_LENGTH} or more printable characters without spaces")


def generate_key() -> str:
    """Return a key of 160 random bits."""
    return KEY_PREFIX + secrets.token_hex(20)


def _new_key(key: str) -> NewKey:
    """Return a key to store. Its hint is the first characters of a generated key, so that people tell keys apart.

    Raises InvalidInputError as `check_key`.
    """
    check_key(key)
    digest = sha256_hex(key)
    return NewKey(key_sha256=digest, hint=key[:HINT_LENGTH] if key.startswith(KEY_PREFIX) else f"#{digest[:8]}")


def make_key(
    store: Store,
    viewer: User,
    document: Mapping[str, Any],
    *,
    now: datetime,
    user_name: str | None = None,
    form_sha256: str | None = None,
) -> tuple[str, ApiKey]:
    """Create a key, and return it with its stored fields. The key cannot be read again: only its SHA-256 is stored.

    Args:
        document: `scope`, and perhaps `name`, `service` (a reference), `stack`, and `expires` (`90d` or a date).
        user_name: Owner of the key; None: the viewer.
        form_sha256: Hash of the form that creates the key. A form creates one key only.

    Raises:
        ForbiddenError: The viewer's key must not create keys, or none that lasts so long; or the key is for another
            user, and the viewer is not an admin.
        InvalidInputError: A value is wrong.
        NotFoundError: There is no such user, or the user has no such service or stack.
        ConflictError: Several services match the reference, or the form has already created a key.
    """
    owner = _find_owner(store, viewer, user_name, changes=True)
    with about("name"):
        name = parse_key_name(document.get("name"))
    with about("scope"):
        scope = Scope(check_choice("scope", document.get("scope"), tuple(Scope)))
    with about("expires"):
        expires = parse_until("expires", document.get("expires"), now)
        _check_expiry(expires, viewer.access.expires)
    reference, stack = document.get("service") or None, document.get("stack") or None
    with about("service"):
        service_uuid = None if reference is None else services.find(store, owner, reference)
    key = generate_key()
    new = replace(
        _new_key(key),
        name=name,
        scope=scope,
        service_uuid=service_uuid,
        stack=stack,
        expires=expires,
        form_sha256=form_sha256,
    )
    return key, store.add_key(owner.name, new, viewer)


def list_keys(store: Store, viewer: User, user_name: str | None = None) -> tuple[ApiKey, ...]:
    """Return the keys of a user, oldest first. A key for one service or stack sees only itself.

    Raises:
        ForbiddenError: The keys belong to another user, and the viewer is not an admin.
        NotFoundError: There is no such user.
    """
    owner = _find_owner(store, viewer, user_name, changes=False)
    access = viewer.access
    return tuple(key for key in store.keys(owner.name) if not access.is_narrow or key.key_sha256 == access.key_sha256)


def revoke_key(store: Store, viewer: User, key_id: str, user_name: str | None = None) -> None:
    """Revoke a key. Once this returns, no request with it is accepted, and the sessions that it began have ended.

    Raises:
        ForbiddenError: As `make_key`.
        NotFoundError: The user has no such key.
    """
    owner = _find_owner(store, viewer, user_name, changes=True)
    if not is_storable(key_id):
        raise NotFoundError(NOT_FOUND)
    store.revoke_key(owner.name, key_id, viewer)


def parse_key_name(text: object) -> str:
    """Return the name of a key, without spaces around it; empty: none. Raises InvalidInputError."""
    name = str(text or "").strip()
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidInputError(f"name must have at most {MAX_NAME_LENGTH} printable characters, got {name[:60]!r}")
    return name


def _check_expiry(expires: datetime | None, longest: datetime | None) -> None:
    if longest is not None and (expires is None or expires > longest):
        raise ForbiddenError(
            f"your key expires at {longest:%Y-%m-%dT%H:%M:%SZ}, and a key that it makes must expire then or before:"
            " give it an expiry"
        )


def _find_owner(store: Store, viewer: User, user_name: str | None, *, changes: bool) -> User:
    """Return the owner of the keys and all that the owner sees, if the viewer may see or change these keys."""
    if changes:
        require_scope(viewer, Scope.ADMIN)
        require_everything(viewer)
    name = user_name or viewer.name
    if name != viewer.name or not viewer.uuid:
        require_admin(viewer, "these are the keys of another user")
    return store.user_named(name)
