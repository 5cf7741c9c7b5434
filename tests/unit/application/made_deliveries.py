"""Deliveries for tests."""

from dataclasses import replace
from typing import Any

from tests.unit.application.made_handlers import NOW
from tutumd.errors import Reason
from tutumd.model import Delivery, DeliveryOutcome

QUEUED = Delivery(
    number=7,
    action_uuid="a",
    action_state="Success",
    action_reason="",
    amount=1,
    received=NOW,
    address="192.0.2.1",
    user_agent="Sender/1",
    body_size=0,
    outcome=DeliveryOutcome.QUEUED,
)


def delivery_of(outcome: str, *reasons: Reason, number: int = 7, **values: Any) -> Delivery:
    """Return a delivery of an outcome, with an action if one belongs to it."""
    kind = DeliveryOutcome(outcome)
    has_action = kind in (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED, DeliveryOutcome.SUPERSEDED)
    without = {} if has_action else {"action_uuid": None, "action_state": None, "action_reason": None}
    return replace(QUEUED, outcome=kind, reasons=reasons, number=number, **{**without, **values})
