"""Amounts of SCALEUP actions. Amounts belong to the action: deliveries are a log, and may be deleted before the action
runs.
"""

from collections.abc import Collection, Container, Mapping, Sequence

import sqlalchemy as sa

from tutumd.model import Growth
from tutumd.store.objects.row_mapping import read_one
from tutumd.store.sql import execute_compiled, json_rows
from tutumd.store.tables import action_inputs, actions

Amount = tuple[int, int | None]
"""Containers to add, and the cap of the handler; None: no cap."""

_MERGE = sa.text(
    "UPDATE action_inputs SET amount = action_inputs.amount + CAST(value ->> 1 AS BIGINT) FROM json_each(:rows) "
    "WHERE seq = (SELECT max(seq) FROM action_inputs WHERE action_seq = CAST(value ->> 0 AS BIGINT)) "
    "AND cap IS NOT DISTINCT FROM CAST(value ->> 2 AS INTEGER) RETURNING action_seq"
)
"""Adds amounts to the last amounts of their actions if the caps are equal, and returns these actions."""


def append_amount(amounts: list[Amount], amount: int, cap: int | None) -> None:
    """Append an amount to those of its action.

    Successive amounts with the same cap are combined: adding them one by one up to the cap has the same result as
    adding their sum up to the cap.
    """
    if amounts and amounts[-1][1] == cap:
        amount += amounts.pop()[0]
    amounts.append((amount, cap))


def without(amounts: Sequence[Amount], kept: int, growth: Growth | None) -> list[Amount]:
    """Return the remaining amounts if the first `kept` added containers still exist.

    Args:
        growth: Which containers were added; None: all.
    """
    left: list[Amount] = []
    before = 0
    for amount, cap in amounts:
        there = min(kept, growth.count_added(before, before + amount) if growth else amount)
        left += [(amount - there, cap)] if amount > there else []
        kept, before = kept - there, before + amount
    return left


def store(connection: sa.Connection, amounts: Mapping[int, Sequence[Amount]], new_actions: Container[int]) -> None:
    """Store amounts after the existing amounts of their actions. The caller has locked the services.

    Args:
        amounts: Amounts from `append_amount`, by the `seq` of their action.
        new_actions: Actions without stored amounts.
    """
    first = [(seq, *of_action[0]) for seq, of_action in amounts.items() if seq not in new_actions]
    merged = set(execute_compiled(connection, _MERGE, rows=json_rows(first)).scalars()) if first else set()
    rows = [
        {"action_seq": seq, "amount": amount, "cap": cap}
        for seq, of_action in amounts.items()
        for amount, cap in of_action[seq in merged :]
    ]
    if rows:
        connection.execute(sa.insert(action_inputs), rows)


def read_totals(connection: sa.Connection, action_seqs: Collection[int]) -> dict[int, int]:
    """Return how many containers have been requested from each of these actions so far."""
    if not action_seqs:
        return {}
    of_action = action_inputs.c.action_seq
    totals = sa.select(of_action, sa.func.sum(action_inputs.c.amount)).where(of_action.in_(action_seqs))
    return {seq: int(total) for seq, total in connection.execute(totals.group_by(of_action))}


def read(connection: sa.Connection, action_uuid: str) -> list[Amount]:
    """Return the amounts that a SCALEUP adds, each with the cap of its handler, in their order."""
    # FOR KEY SHARE: a deletion of the action, which also deletes its amounts, waits for the end of the transaction.
    action = read_one(
        connection,
        sa.select(actions.c.seq).where(actions.c.uuid == action_uuid).with_for_update(read=True, key_share=True),
    )
    own = sa.select(action_inputs).where(action_inputs.c.action_seq == action.seq).order_by(action_inputs.c.seq)
    return [(row.amount, row.cap) for row in connection.execute(own)]
