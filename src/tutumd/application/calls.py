"""A call to a handler's URL: checked as far as that goes without the store, then handed to the intake."""

import re
from concurrent.futures import Future

from tutumd.errors import InvalidInputError
from tutumd.model import MAX_AMOUNT, Accepted, Call, Origin
from tutumd.ports import Intake

_AMOUNT = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


def accept(
    intake: Intake, *, service_uuid: str, handler_uuid: str, amount_text: str | None, origin: Origin, body_size: int
) -> "Future[Accepted]":
    """Accept a call: the future's result comes once it is on disk.

    Args:
        amount_text: What stood after `call/` in the path; None means 1.

    Raises:
        InvalidInputError: The amount is not a plain decimal from 1 to 100.
    """
    call = Call(
        service_uuid=service_uuid,
        handler_uuid=handler_uuid,
        amount=1 if amount_text is None else parse_amount(amount_text),
        origin=origin,
        body_size=body_size,
    )
    return intake.accept(call)


def parse_amount(text: str) -> int:
    """Read the number of containers to add, without spending time on a long one."""
    if _AMOUNT.fullmatch(text) and int(text) <= MAX_AMOUNT:
        return int(text)
    raise InvalidInputError(f"amount must be 1 to {MAX_AMOUNT}, got {text[:20]!r}")
