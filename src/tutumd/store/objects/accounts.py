"""The store's users and API keys, and limits of what a user makes."""

from contextlib import suppress
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tutumd.errors import NOT_FOUND, ConflictError, NotFoundError, TooManyCallsError, UnavailableError
from tutumd.model import MAX_TARGETS, Access, ApiKey, AuditEvent, AuditFilters, AuditPage, NewKey, Scope, User
from tutumd.store.intake.rate_limits import take_token
from tutumd.store.objects import audit
from tutumd.store.objects.freeze_windows import apply_windows
from tutumd.store.objects.row_mapping import Row, check_scope, count, read_one, value_from
from tutumd.store.objects.sessions import KEY_COLUMNS, NOTE_AFTER, SqlSessions, find_user, is_valid, user_from
from tutumd.store.sql import insert_missing
from tutumd.store.tables import (
    api_keys,
    freeze_windows,
    groups,
    handlers,
    microseconds,
    new_uuid,
    services,
    targets,
    users,
)

MAX_KEYS = 1_000
MAX_KEYS_A_DAY = 1_000
MAX_HANDLERS, MAX_HANDLERS_OF_ADMIN = 10_000, 100_000
"""Limit at any time, and for URLs in a day: each created or rotated handler gets a URL."""


def check_keys(connection: sa.Connection, user_uuid: str, now: datetime) -> None:
    """Check the number of a user's API keys, including a new key. Expired keys do not count.

    Raises:
        ConflictError: The user has too many keys.
        TooManyCallsError: Too many keys were created in a day, even if they were revoked.
    """
    user = _lock(connection, user_uuid)
    valid = sa.select(api_keys.c.user_uuid).where(api_keys.c.user_uuid == user_uuid, is_valid(now))
    if count(connection, valid) > MAX_KEYS:
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
    if count(connection, sa.select(handlers.c.seq).where(handlers.c.maker_uuid == user_uuid)) > most:
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
    if count(connection, sa.select(targets.c.seq).where(targets.c.user_uuid == user_uuid)) + added > MAX_TARGETS:
        raise ConflictError(f"{user.name} has {MAX_TARGETS} notification targets, and may not have more: delete some")


def _take(connection: sa.Connection, user: Row, now: datetime, urls: int) -> None:
    """Take from a user's daily budget of handler URLs. A key costs as much as several URLs."""
    most = _most_handlers(user)
    full_at, wait_us = take_token(user.keys_tat, microseconds(now), most, 24 * 3600, urls)
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


_key_id: sa.ColumnElement[str] = sa.func.substr(api_keys.c.key_sha256, 1, 16)
_shown_name = sa.func.rtrim(api_keys.c.hint + " " + api_keys.c.name).label("shown_name")
_MADE = (
    "this form has made the key {}… already, and a key is shown only once. If you did not keep it, revoke it and make"
    " another one"
)


class SqlAccounts(SqlSessions):
    """The accounts part of Store in tutumd.ports."""

    def user_by_key(self, key_sha256: str) -> User | None:
        now, this_key = self._clock(), api_keys.c.key_sha256 == key_sha256
        owner = sa.select(users, *KEY_COLUMNS, _shown_name, api_keys.c.last_used).join(api_keys)
        row = next(iter(self._database.fetch(owner.where(this_key, is_valid(now)))), None)
        if row is None:
            return None
        if row.last_used is None or now - row.last_used >= NOTE_AFTER:
            with suppress(UnavailableError), self._database.write() as connection:  # the disk may be full
                connection.execute(sa.update(api_keys).where(this_key).values(last_used=now))
        return user_from(row, credential=row.shown_name)

    def users(self) -> tuple[User, ...]:
        return tuple(
            value_from(row, User, access=Access())
            for row in self._database.fetch(sa.select(users).order_by(users.c.seq))
        )

    def user_named(self, name: str) -> User:
        with self._database.read() as connection:
            return find_user(connection, name)

    def add_user(self, name: str, *, is_admin: bool, key: NewKey | None = None, by: User | None = None) -> User:
        user = User(uuid=new_uuid(), name=name, is_admin=is_admin, created=self._clock())
        try:
            with self._database.write() as connection:
                connection.execute(
                    sa.insert(users).values(uuid=user.uuid, name=name, is_admin=is_admin, created=user.created)
                )
                details = f"{name}, {'an admin' if is_admin else 'a member'}"
                audit.record(connection, by, AuditEvent.USER_ADDED, user.created, details=details)
                if key is not None:
                    self._insert_key(connection, user, key, by)
        except IntegrityError as error:
            raise ConflictError(f"there is a user {name!r} already, or another one has this key") from error
        return user

    def remove_user(self, name: str, by: User | None = None) -> int:
        with self._ending() as connection:
            user = find_user(connection, name)
            admins = connection.execute(sa.select(sa.func.count()).where(users.c.is_admin)).scalar_one()
            if user.is_admin and admins == 1:
                raise ConflictError(f"{name!r} is the last admin: add another one first (tutumd user add --admin)")
            _lock(connection, user.uuid)
            # Before the services, as the intake does: otherwise the two could deadlock.
            numbers = connection.scalars(
                sa.select(groups.c.handler_seq)
                .where(groups.c.user_uuid == user.uuid)
                .order_by(groups.c.handler_seq)
                .with_for_update(key_share=True)
            ).all()
            apply_windows(connection, freeze_windows.c.user_uuid == user.uuid, self._clock(), removes=True)
            connection.execute(sa.delete(handlers).where(handlers.c.seq.in_(numbers)))
            connection.execute(sa.delete(users).where(users.c.uuid == user.uuid))
            audit.record(connection, by, AuditEvent.USER_REMOVED, self._clock(), details=name)
            owned = services.c.owner == name
            connection.execute(
                sa.update(services)
                .where(owned, services.c.definition.isnot(None))
                # No user can have this name, because names contain no spaces.
                .values(owner=f"{name} (removed)")
            )
            return int(connection.execute(sa.select(sa.func.count()).where(owned)).scalar_one())

    def add_key(self, user_name: str, key: NewKey, by: User | None = None) -> ApiKey:
        with self._database.write() as connection:
            return self._insert_key(connection, find_user(connection, user_name), key, by)

    def keys(self, user_name: str | None = None) -> tuple[ApiKey, ...]:
        statement = sa.select(users.c.name.label("user_name"), api_keys).join(api_keys).order_by(api_keys.c.created)
        if user_name is not None:
            statement = statement.where(users.c.name == user_name)
        return tuple(value_from(row, ApiKey, scope=Scope(row.scope)) for row in self._database.fetch(statement))

    def revoke_keys(self, name: str, by: User | None = None) -> int:
        named = sa.or_(api_keys.c.hint == name, _key_id == name)
        with self._ending() as connection:
            return self._revoke(connection, by, users.c.name == name) or self._revoke(connection, by, named)

    def revoke_key(self, user_name: str, key_id: str, by: User | None = None) -> None:
        with self._ending() as connection:
            if not self._revoke(connection, by, users.c.name == user_name, _key_id == key_id):
                raise NotFoundError(NOT_FOUND)

    def _revoke(self, connection: sa.Connection, by: User | None, *which: sa.ColumnElement[bool]) -> int:
        revoked = connection.execute(
            sa.select(api_keys.c.key_sha256, _shown_name, users.c.name)
            .join(users)
            .where(*which)
            .with_for_update(of=api_keys)
        ).all()
        for row in revoked:
            connection.execute(sa.delete(api_keys).where(api_keys.c.key_sha256 == row.key_sha256))
            audit.record(
                connection, by, AuditEvent.KEY_REVOKED, self._clock(), details=f"{row.shown_name} of {row.name}"
            )
        return len(revoked)

    def audit(
        self, viewer: User, filters: AuditFilters = AuditFilters(), *, before: int | None = None, limit: int = 50
    ) -> AuditPage:
        with self._database.read() as connection:
            return audit.read_page(connection, viewer, filters, before, limit)

    def _insert_key(self, connection: sa.Connection, user: User, key: NewKey, by: User | None) -> ApiKey:
        now = self._clock()
        check_scope(connection, user, key.service_uuid, key.stack)
        is_new = insert_missing(
            connection,
            api_keys,
            key_sha256=key.key_sha256,
            user_uuid=user.uuid,
            hint=key.hint,
            name=key.name,
            created=now,
            scope=key.scope.value,
            service_uuid=key.service_uuid,
            stack=key.stack,
            expires=key.expires,
            form_sha256=key.form_sha256,
        )
        if not is_new:
            hint = connection.scalar(
                sa.select(api_keys.c.hint).where(
                    api_keys.c.form_sha256.isnot(None), api_keys.c.form_sha256 == key.form_sha256
                )
            )
            raise ConflictError(_MADE.format(hint) if hint else "this key is that of a user already")
        check_keys(connection, user.uuid, now)
        limits = {
            "scope": key.scope,
            "service": key.service_uuid,
            "stack": key.stack,
            "until": key.expires and f"{key.expires:%Y-%m-%d %H:%M} UTC",
        }
        limited = (f"{name} {limit}" for name, limit in limits.items() if limit)
        details = ", ".join([f"{key.shown_name} of {user.name}", *limited])
        audit.record(connection, by, AuditEvent.KEY_MADE, now, details=details)
        return ApiKey(**asdict(key), user_name=user.name, created=now)
