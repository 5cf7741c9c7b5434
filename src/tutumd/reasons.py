"""Reasons: why a call was skipped, refused or changed, as a code with values, whose sentences the web layer writes; and
why an action did not succeed, as a sentence with a code.
"""

import json
from collections.abc import Sequence
from enum import StrEnum
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


class ReasonCode(StrEnum):
    """Why an action did not succeed: equal failures have the same code.

    REFUSED: The engine, or a rule of tutumd, refused the change before anything was changed.
    CHANGED_MEANWHILE: Somebody else changed the service at the same time.
    NO_PROGRESS, TIMEOUT: The time limits of a run (`RunLimits`).
    EXITED, UNHEALTHY: A new container.
    """

    IMAGE_NOT_FOUND = "image-not-found"
    PULL_FAILED = "pull-failed"
    EXITED = "exited"
    UNHEALTHY = "unhealthy"
    NO_PROGRESS = "no-progress"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    CHANGED_MEANWHILE = "changed-meanwhile"
    ENGINE_UNAVAILABLE = "engine-unavailable"
    WORKER_DIED = "worker-died"
    ABANDONED = "abandoned"
    CANCELED = "canceled"
    INTERNAL = "internal"
    OTHER = "other"


class Cause(str):
    """A sentence that says why an action fails, with its `ReasonCode`. A text that is made from it needs the code
    again.
    """

    __slots__ = ("code",)
    code: str

    def __new__(cls, text: str, code: str = "") -> "Cause":
        cause = super().__new__(cls, text)
        cause.code = code
        return cause


def code_of(*texts: str) -> str:
    """Return the first code of several sentences; empty if none has a code."""
    return next(filter(None, (getattr(text, "code", "") for text in texts)), "")
