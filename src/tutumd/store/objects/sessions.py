"""The store's dashboard sessions, and the links that begin sessions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tutumd.errors import NotFoundError, UnavailableError
from tutumd.model import Access, AuditEvent, NewSession, Origin, Scope, Session, User, Via
from tutumd.store.objects import audit
from tutumd.store.objects.row_mapping import Row, value_from
from tutumd.store.sql import StorePart
from tutumd.store.tables import api_keys, login_links, sessions, storable, users

NOTE_AFTER = timedelta(minutes=5)
"""Maximum delay of `last_used` and `last_seen`: not every request writes."""
KEY_COLUMNS = (
    api_keys.c.key_sha256,
    api_keys.c.scope,
    api_keys.c.service_uuid,
    api_keys.c.stack,
    api_keys.c.expires.label("key_expires"),
)
MAX_SESSIONS = 100
"""Maximum number of sessions of a key, or of a user without a key: a further session ends the oldest."""
MAX_SESSIONS_OF_USER = 1_000
"""Maximum number of all sessions of a user."""


class SqlSessions(StorePart):
    """The sessions part of Accounts in tutumd.ports."""

    ended = 0

    @contextmanager
    def _ending(self) -> Iterator[sa.Connection]:
        """Begin a transaction that may end sessions."""
        with self._database.write() as connection:
            yield connection
        self.ended += 1  # only now: a reader of sessions may have read ended sessions before

    def add_session(self, user: User, new: NewSession) -> int:
        try:
            with self._ending() as connection:
                return _begin(connection, user, new, self._clock())
        except IntegrityError as error:  # in the meantime
            raise NotFoundError(f"the user {user.name!r} was removed, or the key was revoked") from error

    def session_user(self, token_sha256: str) -> User | None:
        now, row = self._clock(), next(iter(self._live_sessions([token_sha256])), None)
        if row is None:
            return None
        if now - row.last_seen >= NOTE_AFTER:
            with suppress(UnavailableError), self._database.write() as connection:  # the disk may be full
                connection.execute(sa.update(sessions).where(sessions.c.seq == row.session).values(last_seen=now))
        return _session_user(row)

    def session_users(self, token_sha256s: Sequence[str]) -> Mapping[str, User]:
        return {row.token_sha256: _session_user(row) for row in self._live_sessions(token_sha256s)}

    def _live_sessions(self, token_sha256s: Sequence[str]) -> Sequence[Row]:
        now, is_named = self._clock(), sessions.c.token_sha256.in_(token_sha256s)
        return self._database.fetch(_SELECT_USER.where(is_named, sessions.c.expires > now, is_valid(now)))

    def sessions(self, user_name: str) -> tuple[Session, ...]:
        now = self._clock()
        statement = (
            sa.select(sessions, sessions.c.seq.label("number"), users.c.name.label("user_name"))
            .join(users, users.c.uuid == sessions.c.user_uuid)
            .outerjoin(api_keys, api_keys.c.key_sha256 == sessions.c.key_sha256)
            .where(users.c.name == user_name, sessions.c.expires > now, is_valid(now))
            .order_by(sessions.c.seq.desc())
        )
        return tuple(value_from(row, Session) for row in self._database.fetch(statement))

    def end_sessions(self, user: User, number: int | None = None) -> int:
        which = sa.true() if number is None else sessions.c.seq == number
        with self._ending() as connection:
            return _end(connection, user, self._clock(), which)

    def add_login_link(self, user_name: str, token_sha256: str, expires: datetime, by: User | None = None) -> None:
        with self._database.write() as connection:
            user = find_user(connection, user_name)
            connection.execute(
                sa.insert(login_links).values(token_sha256=token_sha256, user_uuid=user.uuid, expires=expires)
            )
            audit.record(connection, by, AuditEvent.LOGIN_LINK_MADE, self._clock(), details=f"for {user_name}")

    def use_login_link(self, token_sha256: str, new: NewSession, origin: Origin) -> User | None:
        now = self._clock()
        is_link = sa.and_(login_links.c.token_sha256 == token_sha256, login_links.c.expires > now)
        owner = sa.select(users).join(login_links, login_links.c.user_uuid == users.c.uuid).where(is_link)
        with self._ending() as connection:
            # Lock the user before the link, as the removal of a user does: otherwise the two could deadlock.
            row = connection.execute(owner.with_for_update(read=True, key_share=True, of=users)).first()
            used = sa.delete(login_links).where(is_link).returning(login_links.c.user_uuid)
            if row is None or connection.execute(used).first() is None:
                return None
            access = Access(via=Via.PAGE, credential="login link", address=origin.address, user_agent=origin.user_agent)
            user: User = value_from(row, User, access=access)
            _begin(connection, user, new, now)
        return user


def _begin(connection: sa.Connection, user: User, new: NewSession, now: datetime) -> int:
    access = user.access
    connection.execute(sa.delete(sessions).where(sessions.c.expires <= now))
    # Of two sessions that begin at the same time, the second sees the first and ends the oldest.
    connection.execute(sa.select(users.c.uuid).where(users.c.uuid == user.uuid).with_for_update(key_share=True))
    before = connection.execute(_SELECT_USER.where(sessions.c.token_sha256 == new.replaces)).first()
    if before is not None:
        former = _session_user(before, address=access.address, user_agent=access.user_agent)
        _end(connection, former, now, sessions.c.seq == before.session)
    number = connection.execute(
        sa.insert(sessions)
        .values(
            token_sha256=new.token_sha256,
            user_uuid=user.uuid,
            key_sha256=access.key_sha256,
            credential=access.credential,
            created=now,
            last_seen=now,
            expires=new.expires,
            address=access.address[:64],
            user_agent=storable(access.user_agent)[:512],
        )
        .returning(sessions.c.seq)
    ).scalar_one()
    same_key = sessions.c.key_sha256.is_not_distinct_from(access.key_sha256)
    for alike, most in ((same_key, MAX_SESSIONS), (sa.true(), MAX_SESSIONS_OF_USER)):
        oldest_kept = (
            sa.select(sessions.c.seq)
            .where(sessions.c.user_uuid == user.uuid, alike)
            .order_by(sessions.c.seq.desc())
            .limit(1)
            .offset(most - 1)
        )
        _end(connection, user, now, sa.and_(alike, sessions.c.seq < oldest_kept.scalar_subquery()))
    audit.record(connection, user, AuditEvent.SESSION_STARTED, now, details=f"session {number}")
    return int(number)


def _end(connection: sa.Connection, user: User, now: datetime, which: sa.ColumnElement[bool]) -> int:
    """End sessions of a user, and return their number."""
    numbers = connection.scalars(
        sa.delete(sessions).where(sessions.c.user_uuid == user.uuid, which).returning(sessions.c.seq)
    ).all()
    for number in numbers:
        audit.record(connection, user, AuditEvent.SESSION_ENDED, now, details=f"session {number}")
    return len(numbers)


_SELECT_USER: sa.Select[Any] = (
    sa.select(
        users,
        sessions.c.seq.label("session"),
        sessions.c.last_seen,
        sessions.c.token_sha256,
        sessions.c.credential,
        *KEY_COLUMNS,
    )
    .select_from(sessions)
    .join(users, users.c.uuid == sessions.c.user_uuid)
    .outerjoin(api_keys, api_keys.c.key_sha256 == sessions.c.key_sha256)
)


def is_valid(now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition that an API key, or a session without one, has not expired."""
    return sa.or_(api_keys.c.expires.is_(None), api_keys.c.expires > now)


def _session_user(row: Row, **came: str) -> User:
    return user_from(row, via=Via.PAGE, credential=row.credential, session=row.session, **came)


def user_from(row: Row, **access: Any) -> User:
    """Return the user of a row that has `KEY_COLUMNS`, with the rights of the key; null: all rights. `access` describes
    how the user signed in.
    """
    return value_from(
        row,
        User,
        access=Access(
            scope=Scope(row.scope) if row.scope else Scope.ADMIN,
            service_uuid=row.service_uuid,
            stack=row.stack,
            expires=row.key_expires,
            key_sha256=row.key_sha256,
            **access,
        ),
    )


def find_user(connection: sa.Connection, name: str) -> User:
    """Return the user with a name. Raises NotFoundError."""
    row = connection.execute(sa.select(users).where(users.c.name == name)).first()
    if row is None:
        similar = get_close_matches(name, connection.execute(sa.select(users.c.name).limit(1_000)).scalars().all(), n=1)
        hint = f"did you mean {similar[0]!r}? Or " if similar else ""
        raise NotFoundError(f"there is no user {name!r}: {hint}add it with tutumd user add {name}")
    return value_from(row, User, access=Access())
