"""The log lines of actions."""

from datetime import datetime

import sqlalchemy as sa

from tutumd.model import Phase
from tutumd.store.tables.actions import action_lines
from tutumd.store.tables.schema import storable

MAX_LINES = 1_000
"""Maximum number of log lines of an action: the first 100, and the newest."""

MAX_LENGTH = 4_000
LEFT_OUT = "… lines were left out here: an action keeps its first and its newest lines"

_FIRST = 100
_AT_ONCE = 100

_INSERT_LINE = sa.insert(action_lines).inline()
_LINES_OF_ACTION = (
    sa.select(action_lines.c.seq)
    .where(action_lines.c.action_uuid == sa.bindparam("action_uuid"))
    .order_by(action_lines.c.seq)
)


def add_line(connection: sa.Connection, action_uuid: str, at: datetime, text: str, phase: Phase | None = None) -> None:
    """Add a line to the log of an action. Beyond `MAX_LINES`, lines in the middle are deleted, and one line reports the
    deletion.
    """
    connection.execute(
        _INSERT_LINE,
        {"action_uuid": action_uuid, "at": at, "line": storable(text)[:MAX_LENGTH], "phase": phase and phase.value},
    )
    lines = connection.execute(_LINES_OF_ACTION, {"action_uuid": action_uuid}).scalars().all()
    if len(lines) > MAX_LINES:
        left_out, *deleted = lines[_FIRST : _FIRST + _AT_ONCE]
        connection.execute(
            sa.update(action_lines).where(action_lines.c.seq == left_out).values(line=LEFT_OUT, phase=None)
        )
        connection.execute(sa.delete(action_lines).where(action_lines.c.seq.in_(deleted)))
