"""What the actions of a database tell about the worker: how long they waited, and how many ended."""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

SLOTS = 16
"""Actions at once on one engine, by default."""
_SELECT = (
    "SELECT service_uuid, created, started, ended, max(token - 1 - attempts, 0), uuid FROM actions "
    "WHERE created >= ? ORDER BY seq"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Times of one action in seconds since 1970; None: not yet.

    Attributes:
        lapsed: Claims beyond those that the worker made for another try: a lease ran out before.
    """

    service: str
    created: float
    started: float | None
    ended: float | None
    lapsed: int = 0
    uuid: str = ""


def read(database: Path, *, since: float = 0.0) -> list[Ran]:
    """Read the actions that were queued since a time."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_SELECT, (int(since * 1e6),)).fetchall()
    return [
        Ran(
            service=service,
            created=created / 1e6,
            started=None if started is None else started / 1e6,
            ended=None if ended is None else ended / 1e6,
            lapsed=lapsed,
            uuid=uuid,
        )
        for service, created, started, ended, lapsed, uuid in rows
    ]


def count_live(database: Path, apart_from: Sequence[str] = ()) -> int:
    """Count the actions that have not ended, apart from those of some engines."""
    marks = ", ".join("?" * len(apart_from))
    statement = f"SELECT count(*) FROM actions WHERE state IN ('Pending', 'In progress') AND engine NOT IN ({marks})"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute(statement, apart_from).fetchone()[0])


def ended_per_s(actions: Iterable[Ran], begin: float, end: float) -> float:
    """Count the actions that ended within a window, for each second of it."""
    return sum(1 for one in actions if one.ended is not None and begin <= one.ended < end) / (end - begin)


def claim_delays(actions: Iterable[Ran], begin: float, end: float, slots: int = SLOTS) -> list[float]:
    """Return how long a worker let each action wait that began or could have begun within a window.

    It begins actions one after the other. So the time counts from when the one before had begun, this one was queued,
    the last one of its service had ended, and a slot was free. One that has not begun at all is infinitely late.
    """
    known = list(actions)
    last_end: dict[str, float] = defaultdict(lambda: -math.inf)
    running, last_start, free_since = 0, -math.inf, -math.inf
    delays = [math.inf for one in known if one.started is None and one.created < end]
    for moment, is_start, one in sorted(_events(known), key=lambda event: event[:2]):
        if is_start:
            running += 1
            if one.created < end and moment >= begin:
                could_begin = max(one.created, last_end[one.service], free_since, last_start)
                delays.append(max(0.0, moment - could_begin))
            last_start = moment
        else:
            if running >= slots:
                free_since = moment
            running -= 1
            last_end[one.service] = moment
    return delays


def _events(actions: Iterable[Ran]) -> Iterable[tuple[float, bool, Ran]]:
    for one in actions:
        if one.started is not None:
            yield one.started, True, one
            if one.ended is not None:
                yield one.ended, False, one


def p99(values: Sequence[float]) -> float:
    """Return the value that 99 of 100 do not exceed; of fewer than 100 values, the highest."""
    ordered = sorted(values)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]
