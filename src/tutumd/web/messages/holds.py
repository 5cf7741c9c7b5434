"""What pending actions wait for, for people."""

from tutumd.model import Action, Hold
from tutumd.web.messages.deliveries import write_reason


def write_hold(hold: Hold) -> str:
    """Return why a hold delays an action, who set it, and until when it lasts."""
    if not hold.by:
        return write_reason(hold.reason)
    until = f", until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
    return f"{write_reason(hold.reason)} (by {hold.by}{until})"


def describe_wait(action: Action) -> str:
    """Return everything that an action waits for; empty if a worker performs it, or it has ended."""
    return "; ".join(filter(None, (*map(write_hold, action.holds), action.waits_for)))
