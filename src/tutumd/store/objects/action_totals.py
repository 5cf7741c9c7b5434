"""The ends of actions, and totals: how many ended, by result and duration, and how many changed workers.

Each event is counted in its own transaction, so that totals are correct on every server and survive restarts. Two
transactions may update the same row, so each updates it last, after it has locked its service.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from tutumd.model import DURATION_BOUNDS_S, ActionState, ActionTotal, Claim, Outcome, ReasonCode, Verb
from tutumd.store.queue import outbox
from tutumd.store.sql import Dialect, dialect_of, insert
from tutumd.store.tables import action_totals, actions, storable

TAKEOVER = "takeover"
_NOT_RUN, _ABOVE_ALL = 0, -1
_S = 1_000_000

# Both times as numbers of microseconds: their difference would otherwise have the type of a time.
_RAN = sa.type_coerce(actions.c.ended, sa.BigInteger) - sa.type_coerce(actions.c.started, sa.BigInteger)
_DURATION = sa.case((_RAN > 0, _RAN), else_=0)  # a clock that was set back yields no negative duration
_BOUND = sa.case(
    (actions.c.started.is_(None), sa.literal_column(str(_NOT_RUN))),
    *((sa.literal_column(str(bound * _S)) >= _RAN, sa.literal_column(str(bound))) for bound in DURATION_BOUNDS_S),
    else_=sa.literal_column(str(_ABOVE_ALL)),
).label("bound")


def count_ended(connection: sa.Connection, action_uuids: Sequence[str]) -> set[str]:
    """Count actions that have ended in this transaction, and queue the notifications of their ends.

    Returns:
        The topics to publish.
    """
    if not action_uuids:
        return set()
    told = outbox.add_ended(connection, action_uuids)
    connection.execute(_count_ended(dialect_of(connection)), {"action_uuids": list(action_uuids)})
    return told


@cache
def _count_ended(dialect: Dialect) -> Any:
    ended = (
        sa.select(actions.c.engine, actions.c.verb, actions.c.state, _BOUND, sa.func.count(), sa.func.sum(_DURATION))
        .where(actions.c.uuid.in_(sa.bindparam("action_uuids", expanding=True)))
        .group_by(actions.c.engine, actions.c.verb, actions.c.state, sa.text("bound"))
        # Sorted by the whole key, so that no two transactions deadlock.
        .order_by(actions.c.engine, actions.c.verb, actions.c.state, sa.text("bound"))
    )
    return _or_add(dialect.insert(action_totals).from_select([column.name for column in action_totals.c], ended))


def count_takeover(connection: sa.Connection, engine: str, verb: str) -> None:
    """Count the claim of an action that another worker holds, or held when it died."""
    connection.execute(
        _or_add(
            insert(connection, action_totals).values(
                engine=engine, verb=verb, event=TAKEOVER, bound=_NOT_RUN, number=1, microseconds=0
            )
        )
    )


def read(connection: sa.Connection) -> list[ActionTotal]:
    """Return all totals."""
    return [
        ActionTotal(
            engine=row.engine,
            verb=row.verb,
            event=row.event,
            bound_s=None if row.bound == _ABOVE_ALL else row.bound,
            has_run=row.bound != _NOT_RUN,
            number=row.number,
            seconds=row.microseconds / _S,
        )
        for row in connection.execute(sa.select(action_totals))
    ]


def _or_add(added: Any) -> Any:
    return added.on_conflict_do_update(
        index_elements=["engine", "verb", "event", "bound"],
        set_={name: action_totals.c[name] + added.excluded[name] for name in ("number", "microseconds")},
    )


def ending_of(outcome: Outcome) -> tuple[ActionState, str]:
    """Return the state of an action that ends with an outcome, and the `ReasonCode`; empty for a success."""
    if outcome.success:
        return ActionState.SUCCESS, ""
    if outcome.canceled:
        return ActionState.CANCELED, ReasonCode.CANCELED
    return ActionState.FAILED, outcome.reason_code or ReasonCode.OTHER


def describe(connection: sa.Connection, claim: Claim, outcome: Outcome) -> sa.ColumnElement[str] | str:
    """Return the reason of an outcome.

    If the action succeeds, the text also names the effect of limits, and a cancel that was too late.
    """
    reason = storable(outcome.reason)
    if not outcome.success:
        return reason
    if claim.action.verb is Verb.SCALEUP:
        growth = connection.scalar(sa.select(actions.c.growth).where(actions.c.uuid == claim.action.uuid))
        reason = "; ".join(filter(None, (reason, growth and growth["note"])))
    return sa.case((actions.c.cancel, "; ".join(filter(None, (reason, "the cancel came too late")))), else_=reason)
