"""How an action ended, as its row tells it."""

import sqlalchemy as sa

from tutumd.model import ActionState, Claim, Outcome, Verb
from tutumd.store.tables.actions import actions
from tutumd.store.tables.schema import storable


def final_state(outcome: Outcome) -> ActionState:
    """Return the state of an action that ends with an outcome."""
    if outcome.success:
        return ActionState.SUCCESS
    return ActionState.CANCELED if outcome.canceled else ActionState.FAILED


def describe(connection: sa.Connection, claim: Claim, outcome: Outcome) -> sa.ColumnElement[str] | str:
    """Return the reason of an outcome.

    If the action succeeds, it also says what limits left out, and that a cancel came too late.
    """
    reason = storable(outcome.reason)
    if not outcome.success:
        return reason
    if claim.action.verb is Verb.SCALEUP:
        growth = connection.scalar(sa.select(actions.c.growth).where(actions.c.uuid == claim.action.uuid))
        reason = "; ".join(filter(None, (reason, growth and growth["note"])))
    too_late = "; ".join(filter(None, (reason, "the cancel came too late")))
    return sa.case((actions.c.cancel, too_late), else_=reason)
