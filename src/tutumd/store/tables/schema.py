"""The schema: its revision, the collection of all tables, the table of single values, and the types of columns."""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

metadata = sa.MetaData()

HEAD = "1"
"""Revision of the newest migration. The revisions are numbered from 1."""

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
