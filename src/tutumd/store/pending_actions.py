"""Pending actions: new rows, and closing them to further calls."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState, Origin, Verb
from tutumd.store.tables.actions import OPEN, actions
from tutumd.store.tables.schema import new_uuid


def close_all(connection: sa.Connection, service_uuid: str) -> None:
    """Close the open actions of a service: they still run in their turn, but nothing joins them any more."""
    connection.execute(sa.update(actions).where(actions.c.service_uuid == service_uuid, OPEN).values(open=False))


def new_action(
    service_uuid: str,
    engine: str,
    verb: Verb,
    *,
    origin: Origin,
    now: datetime,
    target: int | None = None,
    amount: int = 0,
) -> dict[str, Any]:
    """Return the row of a new open action that is due at once."""
    return {
        "uuid": new_uuid(),
        "service_uuid": service_uuid,
        "engine": engine,
        "verb": verb.value,
        "state": ActionState.PENDING.value,
        "open": True,
        "target": target,
        "amount": amount,
        "cancel": False,
        "created": now,
        "due": now,
        "address": origin.address[:64],
        "user_agent": origin.user_agent[:512],
        "reason": "",
        "log_tail": "",
        "rolled_back": False,
        "containers_before": [],
        "containers_after": [],
        "token": 0,
        "attempts": 0,
        "journal": {},
        "tag": None,
        "variables": {},
        "cap": None,
    }


def insert(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Insert rows of `new_action` in their order, and return the `seq` of each by its UUID."""
    inserted = connection.execute(sa.insert(actions).returning(actions.c.uuid, actions.c.seq), list(rows))
    return {row.uuid: row.seq for row in inserted}
