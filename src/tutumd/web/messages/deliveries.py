"""What became of a delivery, in words."""

from tutumd.model import Delivery, DeliveryOutcome, Operation
from tutumd.web.messages.delivery_text import hide_uuids
from tutumd.web.messages.reasons import write_delivery_reason

_OUTCOMES = {
    DeliveryOutcome.QUEUED: "It queued an action.",
    DeliveryOutcome.JOINED: "It joined an action that was already waiting.",
    DeliveryOutcome.SUPERSEDED: "It joined an action, and a later call replaced its tag or body.",
    DeliveryOutcome.SKIPPED: "It was skipped: nothing runs. Its sender got a 200.",
    DeliveryOutcome.REFUSED: "It was refused: nothing runs.",
    DeliveryOutcome.REPEATED: "It repeats an earlier call: nothing runs twice. Its sender got the earlier response.",
}


def describe_outcome(delivery: Delivery) -> str:
    """Return what became of a delivery, as a sentence."""
    return _OUTCOMES[delivery.outcome]


def describe_reason(delivery: Delivery) -> str:
    """Return why a delivery has its outcome, for a page that links to the action of the delivery that it repeats."""
    if delivery.repeats:
        return "it repeats an earlier delivery"
    return hide_uuids(write_delivery_reason(delivery))


def describe_wish(delivery: Delivery, operation: Operation) -> str:
    """Return what a delivery asked for beyond the operation: a tag, or how many containers; empty if nothing."""
    if operation is Operation.SCALEUP:
        return f"{delivery.amount} more"
    return f"tag {delivery.tag}" if delivery.tag else ""
