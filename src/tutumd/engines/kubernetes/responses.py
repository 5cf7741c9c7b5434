"""Responses of the API: their text and their events, each error translated."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from tutumd.engines.kubernetes.requests import Request
from tutumd.engines.labels import Json
from tutumd.errors import EngineUnavailableError, TutumdError

CONNECTION_ERRORS = (urllib3.exceptions.HTTPError, OSError)
_PART_BYTES = 64 * 1024


class ExpiredError(TutumdError):
    """The API does not remember a list or a watch any more: begin again."""


def events(response: Any) -> Iterator[tuple[str, Json]]:
    """Yield the events of a watch until it ends: what happened, and to which object.

    Raises:
        ExpiredError: The API does not remember what came after the version at which the watch began.
        EngineUnavailableError: The connection broke, or the API ended the watch for another reason.
    """
    rest = b""
    with translated("watching the cluster was interrupted", (*CONNECTION_ERRORS, ValueError)):
        while part := response.read1(_PART_BYTES):
            *lines, rest = (rest + part).split(b"\n")
            for event in map(json.loads, filter(None, lines)):
                changed = event["object"]
                if event["type"] == "ERROR":
                    message = changed.get("message") or changed.get("reason") or "no reason was given"
                    # Only after 410 does it help to list again at once.
                    kind = ExpiredError if changed.get("code") == 410 else EngineUnavailableError
                    raise kind(f"the cluster ended a watch: {message}")
                yield event["type"], changed


@contextmanager
def translated(what: str, errors: tuple[type[Exception], ...] = CONNECTION_ERRORS) -> Iterator[None]:
    """Turn errors of the client and those given into EngineUnavailableError."""
    try:
        yield
    except ApiException as error:
        raise EngineUnavailableError(f"{what}: {error.reason}") from error
    except errors as error:
        raise EngineUnavailableError(f"{what}: {_cause(error)}") from error


def read(response: Any, request: Request) -> str:
    """Return the text of the response to a request."""
    with translated(f"cannot {request.words}"):
        return str(response.read(), errors="replace")


def message_of(text: str) -> str:
    """Return the message of the API's Status object, else the start of the text."""
    try:
        return str(json.loads(text).get("message") or "")
    except (ValueError, AttributeError):
        return text.strip()[:200]


def _cause(error: BaseException) -> str:
    innermost = error
    while (cause := innermost.__cause__ or innermost.__context__) is not None:
        innermost = cause
    if isinstance(innermost, TimeoutError):
        return "the cluster did not respond in time"
    return str(innermost) or type(innermost).__name__
