"""The issuers of identity tokens that handlers name, and their keys."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model.issuers import FETCH_EVERY, REFETCH_AFTER, IssuerKeys
from tutumd.store.objects.row_mapping import value_from
from tutumd.store.sql import NOTIFICATIONS, StorePart, insert_missing, upsert
from tutumd.store.tables import handlers, issuers

# The text of an option as `json.dumps` writes it. URLs of issuers have no `%`, and `_` may match another character.
_OPTION = sa.literal('%"issuer": "') + issuers.c.url + '"%'
IS_NAMED = sa.exists().where(handlers.c.options.like(_OPTION))
"""Whether a handler names the issuer. This reads all handlers."""


class SqlIssuers(StorePart):
    """The issuers part of Store in tutumd.ports."""

    def issuer_keys(self, url: str) -> IssuerKeys | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(issuers).where(issuers.c.url == url)).first()
        return value_from(row, IssuerKeys) if row else None

    def want_keys(self, url: str) -> None:
        with self._wakeup.write(self._database) as (connection, woken):
            upsert(connection, issuers, ["url"], {"url": url, "wanted": True})
            woken.add(NOTIFICATIONS)


def name_issuers(connection: sa.Connection, options: Iterable[Mapping[str, Any]]) -> None:
    """Let a notifier fetch the keys of the issuers in stored options of handlers, if they are new."""
    # Sorted: transactions that insert the same issuers in another order would wait for each other.
    for url in sorted({each["verify"]["issuer"] for each in options if "issuer" in each.get("verify", ())}):
        insert_missing(connection, issuers, url=url)


def must_fetch(now: datetime) -> sa.ColumnElement[bool]:
    """Return the condition for issuers whose keys must be fetched."""
    c = issuers.c
    # A time in the future was stored before a clock was set back.
    may_try = sa.or_(c.tried.is_(None), c.tried <= now - REFETCH_AFTER, c.tried > now + REFETCH_AFTER)
    is_due = sa.or_(c.fetched.is_(None), c.fetched <= now - FETCH_EVERY, c.fetched > now + REFETCH_AFTER, c.wanted)
    return sa.and_(may_try, is_due)
