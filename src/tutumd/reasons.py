"""Reasons: why a call was skipped, refused or changed, as a code with values. The web layer writes the sentences."""

import json
from collections.abc import Sequence
from typing import NamedTuple


class Reason(NamedTuple):
    """A reason. `web.messages.reasons` has the sentence of each code, with placeholders for the values."""

    code: str
    values: tuple[str, ...] = ()


USED_UP = Reason("used-up")


def encode_reasons(reasons: Sequence[Reason]) -> str:
    """Return reasons in the form of the store; an empty text if there are none."""
    return json.dumps([[reason.code, *reason.values] for reason in reasons], ensure_ascii=False) if reasons else ""


def decode_reasons(text: str) -> tuple[Reason, ...]:
    """Return the reasons of a text from `encode_reasons`."""
    return tuple(Reason(code, tuple(values)) for code, *values in json.loads(text)) if text else ()
