"""Limits on the objects of one user, and on how many a user creates in a day. They are checked in the transaction that
adds an object.
"""

from datetime import datetime

import sqlalchemy as sa

from tutumd.errors import ConflictError, NotFoundError, TooManyCallsError, about
from tutumd.model import MAX_TARGETS, User
from tutumd.store.intake.rate_limits import take_token
from tutumd.store.objects.row_mapping import Row, read_one, visible_to
from tutumd.store.tables.accounts import api_keys, users
from tutumd.store.tables.notifications import targets
from tutumd.store.tables.schema import microseconds
from tutumd.store.tables.services import handlers, services

MAX_KEYS = 1_000
MAX_KEYS_A_DAY = 1_000
MAX_HANDLERS, MAX_HANDLERS_OF_ADMIN = 10_000, 100_000
"""Limit at any time, and for URLs in a day: each created or rotated handler gets a URL."""
_DAY_S = 24 * 3600


def check_keys(connection: sa.Connection, user_uuid: str, now: datetime) -> None:
    """Check the number of a user's API keys, including a new key. Expired keys do not count.

    Raises:
        ConflictError: The user has too many keys.
        TooManyCallsError: Too many keys were created in a day, even if they were revoked.
    """
    user = _lock(connection, user_uuid)
    works = sa.or_(api_keys.c.expires.is_(None), api_keys.c.expires > now)
    if _count(connection, api_keys.c.user_uuid == user_uuid, works) > MAX_KEYS:
        raise ConflictError(f"{user.name} has {MAX_KEYS:,} API keys, and may not have more: revoke those not in use")
    _take(connection, user, now, _most_handlers(user) // MAX_KEYS_A_DAY)


def check_handlers(connection: sa.Connection, user_uuid: str, now: datetime, added: int) -> None:
    """Check the number of webhook handlers that a user has created, including new handlers.

    Handlers count until they are revoked. A handler on a service of another user counts for its creator.

    Raises:
        ConflictError: The user has too many handlers.
        TooManyCallsError: As `check_rotation` does.
    """
    user = _lock(connection, user_uuid)
    most = _most_handlers(user)
    if _count(connection, handlers.c.maker_uuid == user_uuid) > most:
        raise ConflictError(
            f"you may have made at most {most:,} webhook handlers: revoke those not in use"
            " (tutum webhook-handler unused lists some that nobody calls)"
        )
    _take(connection, user, now, added)


def check_rotation(connection: sa.Connection, user_uuid: str, now: datetime) -> None:
    """Check the rate of new handler URLs. Raises TooManyCallsError if a user gets too many in a day."""
    _take(connection, _lock(connection, user_uuid), now, 1)


def check_targets(connection: sa.Connection, user_uuid: str, added: int = 0) -> None:
    """Check the number of a user's notification targets, and keep others from changing them until the transaction ends.

    Raises:
        ConflictError: The user has too many targets.
    """
    user = _lock(connection, user_uuid)
    if _count(connection, targets.c.user_uuid == user_uuid) + added > MAX_TARGETS:
        raise ConflictError(f"{user.name} has {MAX_TARGETS} notification targets, and may not have more: delete some")


def check_scope(connection: sa.Connection, user: User, service_uuid: str | None, stack: str | None) -> None:
    """Raise NotFoundError if the user sees no part of a service or stack that a key or target is limited to."""
    for field, column, wanted, noun in (
        ("service", services.c.uuid, service_uuid, "service"),
        ("stack", services.c.stack, stack, "service of the stack"),
    ):
        found = sa.select(services.c.uuid).where(column == wanted, sa.not_(services.c.terminated), visible_to(user))
        if wanted is not None and connection.execute(found.limit(1)).first() is None:
            with about(field):
                raise NotFoundError(f"{user.name} has no {noun} {wanted!r}")


def _take(connection: sa.Connection, user: Row, now: datetime, urls: int) -> None:
    """Take from a user's daily budget of handler URLs. A key costs as much as several URLs."""
    most = _most_handlers(user)
    full_at, wait_us = take_token(user.keys_tat, microseconds(now), most, _DAY_S, urls)
    if wait_us:
        raise TooManyCallsError(
            f"{user.name} got {MAX_KEYS_A_DAY:,} API keys or {most:,} URLs of handlers within a day:"
            " use one for longer",
            retry_after_s=-(-wait_us // 1_000_000),
        )
    connection.execute(sa.update(users).where(users.c.uuid == user.uuid).values(keys_tat=full_at))


def _most_handlers(user: Row) -> int:
    return MAX_HANDLERS_OF_ADMIN if user.is_admin else MAX_HANDLERS


def _lock(connection: sa.Connection, user_uuid: str) -> Row:
    """Lock a user, so that of two simultaneous transactions the second counts the additions of the first."""
    return read_one(connection, sa.select(users).where(users.c.uuid == user_uuid).with_for_update(key_share=True))


def _count(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(*which)) or 0
