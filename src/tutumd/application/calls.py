"""A call to a handler's URL, as far as it is checked without the store."""

import re

from tutumd.errors import InvalidInputError
from tutumd.model import MAX_AMOUNT

_AMOUNT = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


def parse_amount(text: str) -> int:
    """Read the number of containers to add, without spending time on a long one."""
    if _AMOUNT.fullmatch(text) and int(text) <= MAX_AMOUNT:
        return int(text)
    raise InvalidInputError(f"amount must be 1 to {MAX_AMOUNT}, got {text[:20]!r}")
