"""Rows of deliveries, and the budget for their content."""

import json
from typing import Any

from tutumd.model import Call, Evaluation
from tutumd.store.intake.rate_limits import take_token

MAX_HANDLERS = 10_000
"""Handlers whose spending is kept in memory, about 100 bytes each."""

# Stored instead of the content. `is_cut`: the delivery cannot be redelivered.
REFUSED_CONTENT = '{"is_cut": true, "left_out": ["headers, query and body: the call was refused"]}'
EXCESS_CONTENT = '{"is_cut": true, "left_out": ["headers, query and body: the handler got too much in a minute"]}'

ROW_BYTES = 200
"""Bytes of a delivery without content, headers and reason, with its entries in indexes."""

DELIVERY_COLUMNS = {
    "handler_seq": "BIGINT",
    "action_seq": "BIGINT",
    "amount": "INTEGER",
    "received": "BIGINT",
    "address": "TEXT",
    "user_agent": "TEXT",
    "body_size": "INTEGER",
    "outcome": "TEXT",
    "reason": "TEXT",
    "tag": "TEXT",
    "variable": "TEXT",
    "content": "TEXT",
    "kept_bytes": "INTEGER",
    "before": "BIGINT",
    "revision": "TEXT",
    "caller": "TEXT",
}
"""Columns of the rows of `new_delivery`, with their SQL types."""


class ContentBudget:
    """Bytes stored of each handler's calls within a minute, counted in the memory of this process.

    The budget keeps the calls of one URL from filling the disk.
    """

    def __init__(self, bytes_per_minute: int) -> None:
        self._bytes_per_minute = bytes_per_minute
        self._full_at: dict[str, int] = {}

    def spend(self, handler_uuid: str, size: int, now_us: int) -> bool:
        """Spend bytes of a handler's budget, which refills evenly; return False if too few are left."""
        full_at = self._full_at.get(handler_uuid, 0)
        full_at, wait_us = take_token(full_at, now_us, self._bytes_per_minute, 60, size)
        if len(self._full_at) >= MAX_HANDLERS:
            self._full_at.clear()
        self._full_at[handler_uuid] = full_at
        return not wait_us


def new_delivery(
    call: Call,
    handler_uuid: str,
    evaluation: Evaluation,
    now_us: int,
    budget: ContentBudget,
    *,
    handler_seq: int | None = None,
    action: int | str | None = None,
    outcome: str = "",
    reason: str = "",
    before: int | None = None,
) -> list[Any]:
    """Return the row of a delivery; the budget of its handler decides whether the row has its content."""
    size = len(call.content) if call.content.isascii() else len(call.content.encode("utf-8", "replace"))
    content = call.content
    if evaluation.refuse:
        content, size = REFUSED_CONTENT, len(REFUSED_CONTENT)
    elif size and not budget.spend(handler_uuid, size, now_us):
        content, size = EXCESS_CONTENT, len(EXCESS_CONTENT)
    return [
        handler_seq,
        action,
        call.amount,
        now_us,
        call.origin.address[:64],
        call.origin.user_agent[:512],
        call.body_size,
        outcome,
        reason,
        evaluation.tag if action else None,
        evaluation.variable[0] if action and evaluation.variable else None,
        content,
        size + len(call.origin.user_agent[:512]) + len(reason) + ROW_BYTES,
        before,
        evaluation.revision,
        json.dumps({name: getattr(caller, name) for name in caller.__slots__})
        if (caller := evaluation.caller)
        else None,
    ]
