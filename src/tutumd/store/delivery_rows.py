"""Rows of deliveries, and the values made of them."""

import json
from typing import Any

import sqlalchemy as sa

from tutumd.model import Delivery, DeliveryOutcome, Growth
from tutumd.store.row_mapping import Row, value_from
from tutumd.store.tables.actions import actions
from tutumd.store.tables.deliveries import deliveries
from tutumd.store.tables.handlers import handlers


def select_deliveries(*, with_content: bool = False) -> sa.Select[Any]:
    """Select deliveries, each with its handler, and with what became of its action."""
    content = deliveries.c.content if with_content else sa.literal_column("'{}'").label("content")
    return (
        sa.select(
            *(column for column in deliveries.c if column is not deliveries.c.content),
            content,
            *(actions.c[name].label(f"action_{name}") for name in ("uuid", "state", "reason", "growth")),
            handlers.c.seq.label("handler_number"),
            handlers.c.name.label("handler_name"),
        )
        .outerjoin(actions, actions.c.seq == deliveries.c.action_seq)
        .outerjoin(handlers, handlers.c.seq == deliveries.c.handler_seq)
    )


def delivery_from(row: Row) -> Delivery:
    """Return the delivery of a row of `select_deliveries`."""
    raw = row.content or "{}"
    outcome = DeliveryOutcome(row.outcome)
    reason = row.action_reason
    if row.action_growth is not None and row.before is not None:
        reason = Growth(**row.action_growth).reason_for_call(reason, row.before, row.amount)
    return value_from(
        row, Delivery, number=row.seq, outcome=outcome, content=json.loads(raw), raw=raw, action_reason=reason
    )
