"""Pending actions: which one a call or a person's wish joins, and making a new one."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tutumd.model import ActionState, Origin, Verb
from tutumd.store.row_mapping import new_uuid
from tutumd.store.tables import OPEN, actions

Key = tuple[str, Verb]
"""A service's UUID and a verb: of each there is at most one open pending action."""


def open_actions(connection: sa.Connection, service_uuids: Iterable[str]) -> dict[Key, str]:
    """Find the open pending actions of services that the transaction has locked."""
    rows = connection.execute(
        sa.select(actions.c.service_uuid, actions.c.verb, actions.c.uuid).where(
            actions.c.service_uuid.in_(list(service_uuids)), OPEN
        )
    )
    return {(row.service_uuid, Verb(row.verb)): row.uuid for row in rows}


def close_all(connection: sa.Connection, service_uuid: str) -> None:
    """Close a service's open pending actions: they still run, in their turn, but nothing joins them any more."""
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
    """Make the row of a new open pending action that is due at once."""
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
        "most": None,
    }


def insert(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Insert rows of `new_action`, in their order; answers the number of each by its UUID."""
    if not rows:
        return {}
    inserted = connection.execute(sa.insert(actions).returning(actions.c.uuid, actions.c.seq), list(rows))
    return {row.uuid: row.seq for row in inserted}
