"""Failures that targets were told: equal ones are suppressed for the time that a target sets."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.store.objects.row_mapping import Row
from tutumd.store.sql.dialect import upsert
from tutumd.store.tables.notifications import repeats

_OF_VERB = sa.and_(repeats.c.subject == sa.bindparam("subject"), repeats.c.verb == sa.bindparam("verb"))
_CLEAR = sa.delete(repeats).where(_OF_VERB).returning(repeats.c.target_seq, repeats.c.suppressed)
_SELECT = sa.select(repeats).where(_OF_VERB, repeats.c.reason_code == sa.bindparam("reason_code"))

Key = Mapping[str, str]
"""`subject`, `verb` and `reason_code` of a failure."""


def clear(connection: sa.Connection, ended: Row) -> dict[int, int]:
    """Remove the failures of a verb after its success; return by target how many were not told."""
    suppressed: dict[int, int] = {}
    for row in connection.execute(_CLEAR, {"subject": ended.subject, "verb": ended.verb}):
        suppressed[row.target_seq] = suppressed.get(row.target_seq, 0) + row.suppressed
    return suppressed


def read(connection: sa.Connection, key: Key) -> dict[int, Row]:
    """Return what targets were told of a failure, by target."""
    return {row.target_seq: row for row in connection.execute(_SELECT, key)}


def record(connection: sa.Connection, failed: Row, targets: Sequence[Row]) -> list[tuple[Row, int]]:
    """Record the failure of an action; return the targets to tell, each with how many equal ones it was not told of."""
    key = {name: getattr(failed, name) for name in ("subject", "verb", "reason_code")}
    earlier = read(connection, key) if any(target.repeat_s for target in targets) else {}
    told = []
    for target in targets:
        row = earlier.get(target.seq)
        if not target.repeat_s or tell(connection, key, target, row, failed.ended):
            told.append((target, row.suppressed if row else 0))
    return told


def tell(connection: sa.Connection, key: Key, target: Row, earlier: Row | None, now: datetime) -> bool:
    """Record a failure for a target, and return whether the target is told of it now.

    Args:
        earlier: What the target was told of the equal failure before; None if it was told nothing.
    """
    values: dict[str, Any] = {"told": now, "suppressed": 0, "is_over": False}
    if suppresses := earlier is not None and is_equal(earlier, target, now):
        values = {"told": earlier.told, "suppressed": earlier.suppressed + 1, "is_over": earlier.is_over}
    upsert(connection, repeats, [*key, "target_seq"], {**key, "target_seq": target.seq, **values})
    return not suppresses


def is_equal(earlier: Row, target: Row, now: datetime) -> bool:
    """Return whether the time to repeat an equal failure is not over."""
    # A clock that was set back does not suppress failures for long.
    return bool(abs(now - earlier.told) < timedelta(seconds=target.repeat_s))


def end(connection: sa.Connection, key: Key, target: Row) -> None:
    """Record that a failure of an engine is over, as the target knows."""
    c = repeats.c
    this_one = sa.and_(c.subject == key["subject"], c.verb == key["verb"], c.target_seq == target.seq)
    connection.execute(sa.update(repeats).where(this_one).values(is_over=True))
