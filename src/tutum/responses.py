"""Turns the server's answers into values, and its refusals into errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutum.errors import ObjectNotFound, TutumApiError, TutumAuthError
from tutum.redaction import redact
from tutum.retries import retry_after_s

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server answered to a request that it accepted.

    Attributes:
        body: Decoded JSON; None if there was none.
        action_uri: Path of the action that the request started, if it did.
    """

    status: int
    body: Any = None
    action_uri: str | None = None


def answer_of(response: httpx2.Response, *, described: str) -> Answer:
    """Decode an answer; `described` names the request in errors.

    Raises:
        TutumApiError: It is not a success, or not JSON; the subclass says what can be done.
    """
    status = response.status_code
    if not (200 <= status < 300 or _tells_outcome(response)):
        raise _error_of(response, described=described)
    body: Any = None
    if status != 204 and response.content:
        try:
            body = response.json()
        except ValueError as error:
            raise TutumApiError("the answer is not JSON; is the base URL right?", request=described) from error
    uri = response.headers.get("X-Tutum-Action-URI")
    if not uri and isinstance(body, dict) and str(body.get("action", "")).startswith("/"):
        uri = str(body["action"])
    return Answer(status=status, body=body, action_uri=uri or None)


def _tells_outcome(response: httpx2.Response) -> bool:
    """Whether this is not a gateway's error but what became of the run that a call waited for."""
    if response.status_code not in {502, 504}:
        return False
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "state" in body


def _error_of(response: httpx2.Response, *, described: str) -> TutumApiError:
    status = response.status_code
    message = _message_of(response)
    if status == 401:
        return TutumAuthError(message or "not authorized", status=status, request=described)
    if status == 404:
        return ObjectNotFound(message or "no such object", status=status, request=described)
    if 300 <= status < 400:
        message = "the server sends elsewhere; check the base URL"
    wait_s = retry_after_s(response.headers.get("Retry-After")) if status in {429, 503} else None
    if wait_s is not None:
        message = f"{message or 'the server is busy'}; try again in {wait_s:.0f} s"
    return TutumApiError(message or response.reason_phrase or "the request failed", status=status, request=described)


def _message_of(response: httpx2.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    text = body.get("error") if isinstance(body, dict) else None
    # A server may quote the handler's UUID alone; the path of the request says which word that is.
    return redact(text, known_from=response.request.url.path) if isinstance(text, str) else ""
