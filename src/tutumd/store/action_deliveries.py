"""Which deliveries an action has.

PostgreSQL has an index for it. On SQLite, with one writer, each call of a batch would change another page of that
index, so a table takes its place, which is filled later and in bulk: a scan finds the newest deliveries.
"""

from typing import Any

import sqlalchemy as sa

from tutumd.store import call_counts
from tutumd.store.tables.actions import action_deliveries, deliveries
from tutumd.store.tables.schema import meta

# In `meta`: the `seq` up to which deliveries are in the table. PostgreSQL has none.
KEY = "filed"

# Deliveries of one intake after which it files them: so many that each changed page holds several, and so few that a
# scan of them takes a millisecond. At most twice as many are filed at once, for which calls wait.
FILE_AT = 10_000

_position = sa.select(sa.cast(meta.c.value, sa.BigInteger)).where(meta.c.key == KEY).scalar_subquery()
IS_UNFILED = deliveries.c.seq > sa.func.coalesce(_position, 0)


def seqs(action_seq: int) -> sa.CompoundSelect[Any]:
    """Select the numbers of an action's deliveries."""
    return sa.union_all(
        sa.select(action_deliveries.c.seq).where(action_deliveries.c.action_seq == action_seq),
        sa.select(deliveries.c.seq).where(deliveries.c.action_seq == action_seq, IS_UNFILED),
    )


def count(action_seq: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Return how many deliveries an action of the surrounding query has."""
    filed = sa.select(sa.func.count()).where(action_deliveries.c.action_seq == action_seq)
    unfiled = sa.select(sa.func.count()).where(deliveries.c.action_seq == action_seq, IS_UNFILED)
    return filed.scalar_subquery() + unfiled.scalar_subquery()


def file_counted(connection: sa.Connection) -> None:
    """File what is counted: deliveries over a budget are found by the table. Only on SQLite."""
    if call_counts.read_position(connection) > call_counts.read_position(connection, KEY):
        file(connection)


def file(connection: sa.Connection) -> int:
    """File the oldest deliveries that are not filed yet, and return how many are left. Only on SQLite."""
    start = call_counts.read_position(connection, KEY)
    newest = connection.execute(sa.select(sa.func.max(deliveries.c.seq))).scalar() or start
    end = min(newest, start + 2 * FILE_AT)
    if end > start and call_counts.claim_batch(connection, KEY, start, end):
        of_actions = sa.select(deliveries.c.action_seq, deliveries.c.seq).where(
            deliveries.c.seq > start, deliveries.c.seq <= end, deliveries.c.action_seq.isnot(None)
        )
        in_order = of_actions.order_by(deliveries.c.action_seq, deliveries.c.seq)
        connection.execute(sa.insert(action_deliveries).from_select(["action_seq", "seq"], in_order))
    return max(0, newest - end)
