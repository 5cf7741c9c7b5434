"""Handlers and deliveries for tests."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.unit.application.admission.calls import NOW
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.admission.options import parse_options, write_stored
from tutumd.model import Delivery, DeliveryOutcome, Handler, Operation

CIPHER = SecretCipher([make_key()])
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


def handler_of(document: Mapping[str, Any], number: int = 1) -> Handler:
    """Return the handler that a JSON object makes."""
    return Handler(
        uuid="u",
        service_uuid="s",
        name=document.get("name"),
        operation=Operation(document.get("operation", "REDEPLOY")),
        created=NOW,
        number=number,
        options=write_stored(parse_options(document, NOW), CIPHER),
    )


def delivery_of(outcome: str, reason: str = "", number: int = 7, **values: Any) -> Delivery:
    """Return a delivery of an outcome, with an action if one belongs to it."""
    kind = DeliveryOutcome(outcome)
    has_action = kind in (DeliveryOutcome.QUEUED, DeliveryOutcome.JOINED, DeliveryOutcome.SUPERSEDED)
    without = {} if has_action else {"action_uuid": None, "action_state": None, "action_reason": None}
    return replace(QUEUED, outcome=kind, reason=reason, number=number, **{**without, **values})
