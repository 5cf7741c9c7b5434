"""Users and API keys."""

import secrets
from datetime import datetime, timedelta

from tutumd.application.digests import sha256_hex
from tutumd.errors import InvalidInputError, UnauthorizedError
from tutumd.model import NewKey, User
from tutumd.ports.store import Accounts

KEY_PREFIX = "tutumd_"
"""Prefix of generated keys, by which scanners for leaked secrets recognize them."""

MIN_KEY_LENGTH = 20
HINT_LENGTH = 12
ID_LENGTH = 16
"""How much of its SHA-256 names a key."""

LINK_LASTS = timedelta(minutes=15)


def authenticate(accounts: Accounts, user_name: str, key: str) -> User:
    """Return the user with a name and key. Raises UnauthorizedError, with one text for all reasons."""
    user = accounts.user_by_key(sha256_hex(key)) if user_name and key else None
    if user is None or user.name != user_name:
        raise UnauthorizedError("wrong user or API key")
    return user


def add_user(accounts: Accounts, name: str, *, is_admin: bool, key: str | None = None, by: User | None = None) -> User:
    """Add a user, in one transaction with a key that was chosen elsewhere if there is one.

    Raises InvalidInputError as `check_name` and `check_key`.
    """
    check_name(name)
    if key is not None:
        check_key(key)
    return accounts.add_user(name, is_admin=is_admin, key=None if key is None else _new_key(key), by=by)


def add_key(accounts: Accounts, user_name: str) -> str:
    """Add a generated key to a user and return it. It cannot be read again: only its SHA-256 is stored."""
    key = generate_key()
    store_key(accounts, user_name, key)
    return key


def store_key(accounts: Accounts, user_name: str, key: str, by: User | None = None) -> None:
    """Store a key that was chosen elsewhere. Raises InvalidInputError as `check_key`."""
    check_key(key)
    accounts.add_key(user_name, _new_key(key), by)


def make_login_link(accounts: Accounts, user_name: str, now: datetime, by: User | None = None) -> str:
    """Return the path of a page that signs a user in, once and within 15 minutes. Only a hash of it is stored."""
    token = secrets.token_urlsafe(32)
    accounts.add_login_link(user_name, sha256_hex(token), now + LINK_LASTS, by)
    return f"/sign-in/link/{token}/"


def check_name(name: str) -> None:
    """Raise InvalidInputError if an Authorization header cannot carry the name of a user."""
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
    return NewKey(key_sha256=sha256_hex(key), hint=make_hint(key))


def make_hint(key: str) -> str:
    """Return what tells a key from others: its first characters, if it was generated here."""
    return key[:HINT_LENGTH] if key.startswith(KEY_PREFIX) else f"#{sha256_hex(key)[:8]}"
