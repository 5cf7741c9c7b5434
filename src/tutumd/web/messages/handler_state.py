"""Whether a handler can be called, and whether anybody calls it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tutumd.application.admission.encryption import PlaceholderCipher
from tutumd.application.admission.options import read_stored
from tutumd.model import Handler

UNUSED_AFTER = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerState:
    """The state of a handler, for people.

    Attributes:
        word: `unused`: the handler can be called, and nobody has called it for 30 days.
        why: A sentence; empty if there is nothing to say.
    """

    word: Literal["active", "disabled", "expired", "used up", "unused"]
    why: str = ""


def judge_handler(handler: Handler, now: datetime) -> HandlerState:
    """Return the state of a handler."""
    options = read_stored(handler.options, PlaceholderCipher())
    if not options.enabled:
        return HandlerState(word="disabled", why="Calls get a 404 until you enable the handler.")
    if options.expires_datetime is not None and options.expires_datetime <= now:
        return HandlerState(
            word="expired",
            why=f"Calls get a 404: the handler expired on {options.expires_datetime:%Y-%m-%d %H:%M} UTC.",
        )
    if options.max_uses is not None and handler.uses >= options.max_uses:
        return HandlerState(
            word="used up", why=f"Calls get a 404: the handler has accepted {handler.uses} of {options.max_uses} calls."
        )
    idle = now - handler.unused_since
    if idle >= UNUSED_AFTER:
        ever = "since it was created" if handler.last_called is None else "since its last call"
        return HandlerState(word="unused", why=f"Nobody has called the handler for {idle.days} days, {ever}.")
    return HandlerState(word="active")
