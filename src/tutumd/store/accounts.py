"""The store's users and API keys."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import ApiKey, User
from tutumd.ports.store import Accounts
from tutumd.store.database import StorePart
from tutumd.store.row_mapping import value_from
from tutumd.store.tables import api_keys, new_uuid, services, users


class SqlAccounts(StorePart, Accounts):
    """Accounts of tutumd.ports."""

    def user_by_key(self, key_sha256: str) -> User | None:
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(users)
                .join(api_keys, api_keys.c.user_uuid == users.c.uuid)
                .where(api_keys.c.key_sha256 == key_sha256)
            ).first()
        return None if row is None else value_from(row, User)

    def users(self) -> tuple[User, ...]:
        with self._database.read() as connection:
            return tuple(value_from(row, User) for row in connection.execute(sa.select(users).order_by(users.c.seq)))

    def add_user(self, name: str, *, is_admin: bool, key: tuple[str, str] | None = None) -> User:
        user = User(uuid=new_uuid(), name=name, is_admin=is_admin, created=self._clock())
        try:
            with self._database.write() as connection:
                connection.execute(
                    sa.insert(users).values(uuid=user.uuid, name=name, is_admin=is_admin, created=user.created)
                )
                if key is not None:
                    _insert_key(connection, user.uuid, *key, user.created)
        except IntegrityError as error:
            raise ConflictError(f"there is a user {name!r} already, or another one has this key") from error
        return user

    def remove_user(self, name: str) -> int:
        with self._database.write() as connection:
            row = connection.execute(sa.select(users).where(users.c.name == name)).first()
            if row is None:
                raise NotFoundError(f"there is no user {name!r}")
            admins = connection.execute(sa.select(sa.func.count()).where(users.c.is_admin)).scalar_one()
            if row.is_admin and admins == 1:
                raise ConflictError(f"{name!r} is the last admin: add another one first (tutumd user add --admin)")
            connection.execute(sa.delete(users).where(users.c.uuid == row.uuid))
            owned = services.c.owner == name
            created = sa.and_(owned, services.c.definition.isnot(None))
            # No user can get this name, because names contain no spaces.
            connection.execute(sa.update(services).where(created).values(owner=f"{name} (removed)"))
            return int(connection.execute(sa.select(sa.func.count()).where(owned)).scalar_one())

    def add_key(self, user_name: str, *, key_sha256: str, hint: str) -> None:
        with self._database.write() as connection:
            user_uuid = connection.execute(sa.select(users.c.uuid).where(users.c.name == user_name)).scalar()
            if user_uuid is None:
                raise NotFoundError(f"there is no user {user_name!r}: add it with tutumd user add {user_name}")
            _insert_key(connection, user_uuid, key_sha256, hint, self._clock())

    def keys(self, user_name: str | None = None) -> tuple[ApiKey, ...]:
        statement: sa.Select[Any] = (
            sa.select(users.c.name.label("user_name"), api_keys.c.hint, api_keys.c.created)
            .join(users, users.c.uuid == api_keys.c.user_uuid)
            .order_by(api_keys.c.created)
        )
        if user_name is not None:
            statement = statement.where(users.c.name == user_name)
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return tuple(value_from(row, ApiKey) for row in rows)

    def revoke_keys(self, name: str) -> int:
        of_user = api_keys.c.user_uuid == sa.select(users.c.uuid).where(users.c.name == name).scalar_subquery()
        with self._database.write() as connection:
            revoked = connection.execute(sa.delete(api_keys).where(of_user)).rowcount
            return revoked or connection.execute(sa.delete(api_keys).where(api_keys.c.hint == name)).rowcount


def _insert_key(connection: sa.Connection, user_uuid: str, key_sha256: str, hint: str, now: datetime) -> None:
    connection.execute(sa.insert(api_keys).values(key_sha256=key_sha256, user_uuid=user_uuid, hint=hint, created=now))
