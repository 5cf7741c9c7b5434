"""The deliveries of an action.

PostgreSQL has an index by action. On SQLite, with one writer, each call of a batch would change another page of such an
index, which costs a third of the calls per second once there are many rows. There, the index is by chunk and action, so
that it grows at its end. A row of `actions` has the range of numbers of its deliveries, and `delivery_chunks` has the
chunks. Triggers write both.
"""

from typing import Any

import sqlalchemy as sa

from tutumd.store.sql.dialect import IndexHint
from tutumd.store.tables.actions import CHUNK_BITS, actions, deliveries

_NEWEST = "(SELECT coalesce(max(seq), 0) FROM deliveries)"
TRIGGERS = (
    f"CREATE TRIGGER actions_queued AFTER INSERT ON actions BEGIN UPDATE actions SET first_delivery = {_NEWEST},"  # noqa: S608 (a constant)
    f" last_delivery = CASE WHEN NEW.open THEN NULL ELSE {_NEWEST} END WHERE seq = NEW.seq; END",
    "CREATE TRIGGER actions_closed AFTER UPDATE OF open ON actions WHEN OLD.open AND NOT NEW.open"  # noqa: S608
    f" BEGIN UPDATE actions SET last_delivery = {_NEWEST} WHERE seq = NEW.seq; END",
    f"CREATE TRIGGER chunks_begun AFTER INSERT ON deliveries WHEN NEW.seq % {1 << CHUNK_BITS} = 0 OR NEW.seq = 1"  # noqa: S608 (a constant)
    f" BEGIN INSERT OR IGNORE INTO delivery_chunks VALUES (NEW.seq >> {CHUNK_BITS}); END",
)


# `+`: otherwise both sides are compared as integers, and SQLite has no index of the left one as an integer.
IS_OF_ACTION = sa.and_(
    deliveries.c.action_seq == actions.c.seq,
    IndexHint(
        sa.text(
            f"(deliveries.seq >> {CHUNK_BITS}) IN (SELECT +chunk FROM delivery_chunks WHERE chunk BETWEEN"  # noqa: S608
            f" actions.first_delivery >> {CHUNK_BITS} AND coalesce(actions.last_delivery, {2**63 - 1}) >> {CHUNK_BITS})"
        )
    ),
)
"""The condition that a row of `deliveries` belongs to one of `actions`."""


def seqs(action_seq: int) -> sa.Select[Any]:
    """Select the numbers of an action's deliveries."""
    return (
        sa.select(deliveries.c.seq)
        .select_from(actions)
        .join(deliveries, IS_OF_ACTION)
        .where(actions.c.seq == action_seq)
    )


def count() -> sa.ScalarSelect[int]:
    """Return how many deliveries an action of the surrounding query has."""
    return sa.select(sa.func.count()).select_from(deliveries).where(IS_OF_ACTION).correlate(actions).scalar_subquery()


_IS_NEAR_START = IndexHint(
    sa.text(
        f"(deliveries.seq >> {CHUNK_BITS}) IN (SELECT +chunk FROM delivery_chunks WHERE chunk BETWEEN"  # noqa: S608
        f" actions.first_delivery >> {CHUNK_BITS} AND (actions.first_delivery >> {CHUNK_BITS}) + 1)"
    )
)
"""The action and the call that created it are stored together, with at most 255 other calls."""


def first_handler() -> sa.ScalarSelect[int]:
    """Return the number of the handler whose call created an action of the surrounding query; NULL without a call."""
    return (
        sa.select(deliveries.c.handler_seq)
        .where(deliveries.c.action_seq == actions.c.seq, _IS_NEAR_START)
        .order_by(deliveries.c.seq)
        .limit(1)
        .correlate(actions)
        .scalar_subquery()
    )
