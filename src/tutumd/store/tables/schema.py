"""The schema: its revision, the collection of all tables, the table of single values, and the types of columns."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

metadata = sa.MetaData()

HEAD = "1"
"""Revision of the newest migration. The revisions are numbered from 1."""


def partial_index(
    name: str,
    *columns: Any,
    where: sa.ColumnElement[bool] | sa.TextClause | None = None,
    unique: bool = False,
    **of_dialects: sa.TextClause,
) -> sa.Index:
    """Return an index of the rows that meet a condition.

    Args:
        of_dialects: Conditions by SQLAlchemy's name of a dialect. The index is complete on other dialects.
    """
    return sa.Index(name, *columns, unique=unique, info=of_dialects or {"sqlite": where, "postgresql": where})


@sa.event.listens_for(metadata, "before_create")
def _set_conditions(_metadata: sa.MetaData, connection: sa.Connection, **_: object) -> None:
    """Set the condition of each partial index. As an argument of the index, it would load all dialects: 2 MB each."""
    for table in metadata.tables.values():
        for index in table.indexes:
            index.dialect_options[connection.dialect.name]["where"] = index.info.get(connection.dialect.name)


meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)


def is_known(revision: str, head: str = HEAD) -> bool:
    """Return whether a revision of the schema is `head` or older."""
    return revision in map(str, range(1, int(head) + 1))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(value: datetime) -> int:
    """Return the stored number of a time."""
    return (value - EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """Return the time of a stored number."""
    return EPOCH + timedelta(microseconds=value)


def new_uuid() -> str:
    """Return a new version 4 UUID, the only form that the clients of 2015 accept as an ID."""
    return str(uuid.uuid4())


def derived_uuid(text: str) -> str:
    """Return a version 4 UUID that is always the same for the same text."""
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))


def storable(text: str) -> str:
    """Return a text in a form that every database stores: without NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A time as microseconds since 1970, which every database stores and compares alike."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


Uuid = sa.String(36)
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
