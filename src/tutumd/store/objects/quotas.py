"""How much one user may have, and make in a day. Checked in the transaction that adds it."""

from datetime import datetime

import sqlalchemy as sa

from tutumd.errors import ConflictError, TooManyCallsError
from tutumd.store.intake.rate_limits import take_token
from tutumd.store.objects.row_mapping import Row, read_one
from tutumd.store.tables.accounts import api_keys, users
from tutumd.store.tables.schema import microseconds
from tutumd.store.tables.services import handlers

MAX_KEYS = 1_000
MAX_KEYS_A_DAY = 1_000
MAX_HANDLERS, MAX_HANDLERS_OF_ADMIN = 10_000, 100_000
"""At once, and so many URLs in a day: each handler that is made or rotated gets one."""
_DAY_S = 24 * 3600


def check_keys(connection: sa.Connection, user_uuid: str, now: datetime) -> None:
    """Check the API keys of a user, among them a new one. Expired ones do not count.

    Raises:
        ConflictError: There are too many.
        TooManyCallsError: Too many were made in a day, perhaps to be revoked at once.
    """
    user = _lock(connection, user_uuid)
    works = sa.or_(api_keys.c.expires.is_(None), api_keys.c.expires > now)
    if _count(connection, api_keys.c.user_uuid == user_uuid, works) > MAX_KEYS:
        raise ConflictError(f"{user.name} has {MAX_KEYS:,} API keys, and may not have more: revoke those not in use")
    _take(connection, user, now, _most_handlers(user) // MAX_KEYS_A_DAY)


def check_handlers(connection: sa.Connection, user_uuid: str, now: datetime, added: int) -> None:
    """Check the webhook handlers that a user has made, among them new ones.

    They count until they are revoked. Those on a service of another user count for the one who made them.

    Raises:
        ConflictError: There are too many.
        TooManyCallsError: As `check_rotation` does.
    """
    user = _lock(connection, user_uuid)
    most = _most_handlers(user)
    if _count(connection, handlers.c.maker_uuid == user_uuid) > most:
        unused = "tutum webhook-handler unused lists some that nobody calls"
        raise ConflictError(f"you may have made at most {most:,} webhook handlers: revoke those not in use ({unused})")
    _take(connection, user, now, added)


def check_rotation(connection: sa.Connection, user_uuid: str, now: datetime) -> None:
    """Check the rate of new URLs of handlers. Raises TooManyCallsError if a user gets too many in a day."""
    _take(connection, _lock(connection, user_uuid), now, 1)


def _take(connection: sa.Connection, user: Row, now: datetime, urls: int) -> None:
    """Take from what a user may get in a day: URLs of handlers, or keys, each in place of some URLs."""
    most = _most_handlers(user)
    full_at, wait_us = take_token(user.keys_tat, microseconds(now), most, _DAY_S, urls)
    if wait_us:
        text = (
            f"{user.name} got {MAX_KEYS_A_DAY:,} API keys or {most:,} URLs of handlers within a day: use one for longer"
        )
        raise TooManyCallsError(text, retry_after_s=-(-wait_us // 1_000_000))
    connection.execute(sa.update(users).where(users.c.uuid == user.uuid).values(keys_tat=full_at))


def _most_handlers(user: Row) -> int:
    return MAX_HANDLERS_OF_ADMIN if user.is_admin else MAX_HANDLERS


def _lock(connection: sa.Connection, user_uuid: str) -> Row:
    """Lock a user, so that of two transactions at once the second one counts what the first one has added."""
    return read_one(connection, sa.select(users).where(users.c.uuid == user_uuid).with_for_update(key_share=True))


def _count(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).where(*which)) or 0
