"""Errors that tutumd raises on purpose, named by cause, and reasons as codes with values, whose sentences the web layer
writes.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


class TutumdError(Exception):
    """Base of all errors that tutumd raises on purpose. The text is for people.

    Attributes:
        field: Name of the input field for forms; empty: the error concerns more than one field.
    """

    field: str = ""


def escape(text: str) -> str:
    """Return the text with escapes that keep it from disturbing a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def about(field: str) -> Iterator[None]:
    """Add the name of a field to errors of the block."""
    try:
        yield
    except TutumdError as error:
        error.field = error.field or field
        raise


NOT_FOUND = "there is no such object, or it is not yours"
"""Text of every NotFoundError that must not reveal whether an object exists."""


class InvalidInputError(TutumdError):
    """The input is invalid: the caller can correct it."""


class UnauthorizedError(TutumdError):
    """Credentials are missing, malformed or wrong."""


class ForbiddenError(TutumdError):
    """The credentials are valid but do not permit the request."""


class NotFoundError(TutumdError):
    """The object does not exist or belongs to another user: both have the same text."""


class ClosedError(NotFoundError):
    """The handler exists, but cannot be called now or from this address. Only the owner may see `why`."""

    def __init__(self, why: Reason) -> None:
        super().__init__(NOT_FOUND)
        self.why = why


class ConflictError(TutumdError):
    """The request does not fit the current state, or a unique name is in use."""


class UnavailableError(TutumdError):
    """The request cannot be served now. Nothing was changed: the caller can try later."""


class KeysMissingError(UnavailableError):
    """An issuer's keys were not fetched yet: the caller can try again after `retry_after_s` whole seconds."""

    retry_after_s = 5


class LockedError(UnavailableError):
    """Another process holds a lock for longer than a transaction should last."""


class ConnectionLostError(UnavailableError):
    """The connection to the database was lost. Unless the text says otherwise, the transaction may be committed."""


class ReadOnlyError(UnavailableError):
    """The database accepts no writes: another database has replaced it, or will."""


class TooManyCallsError(TutumdError):
    """A rate limit is exceeded: the caller can try again after `retry_after_s` whole seconds."""

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class AnswerTimeoutError(TutumdError):
    """No worker responded to an engine request in time."""


class SettingsError(TutumdError):
    """A setting is invalid: the server does not start."""


class EngineUnavailableError(TutumdError):
    """The engine cannot be reached or does not respond: the action waits and is retried.

    Attributes:
        faults: The fault of the connection; empty if it is unknown, or if the engine responds.
    """

    def __init__(self, text: str, faults: tuple[Reason, ...] = ()) -> None:
        super().__init__(text)
        self.faults = faults


class EngineBusyError(EngineUnavailableError):
    """The engine responds, but another change uses the same objects: the action waits for its turn."""


class EngineRefusedError(TutumdError):
    """The engine, or a rule of tutumd, refuses the operation permanently: the action fails with this text.

    Attributes:
        code: A `ReasonCode`, by default the code of the text if it has one.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code or code_of(text) or ReasonCode.REFUSED.value

    @property
    def cause(self) -> Cause:
        """The text with its code."""
        return Cause(str(self), self.code)


class LeaseLostError(TutumdError):
    """This worker no longer holds the action: it must not change the engine or the store for it."""
