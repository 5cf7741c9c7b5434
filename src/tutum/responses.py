"""Decodes the server's responses, and turns its refusals into errors."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutum.errors import ObjectNotFound, TutumApiError, TutumAuthError
from tutum.redaction import redact
from tutum.settings import origin_of

if TYPE_CHECKING:
    import httpx2

_OWN_CA = "if it is from a CA of your own, set SSL_CERT_FILE to the file with the certificate of that CA"
_OTHER_NAME = "use the host name that the certificate is for"
# OpenSSL, x509_vfy.h: X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH.
_ADVICE = {10: "renew it, or correct the clock of this machine", 62: _OTHER_NAME, 64: _OTHER_NAME}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """The server's response to an accepted request.

    Attributes:
        body: Decoded JSON; None if there was none.
        action_uri: Path of the action that the request started; None if it started none.
    """

    body: Any = None
    action_uri: str | None = None


def decode(response: httpx2.Response, *, described: str) -> ApiResponse:
    """Decode a response; `described` names the request in errors.

    Raises:
        TutumApiError: The response is not a success, or not JSON. The subclass shows what the caller can do.
    """
    status = response.status_code
    # 502 and 504 with a state are not a gateway's errors, but the result of the run that a call waited for.
    if not (200 <= status < 300 or (status in {502, 504} and "state" in _json_object(response))):
        raise _error_of(response, described=described)
    body: Any = None
    if status != 204 and response.content:
        try:
            body = response.json()
        except ValueError as error:
            raise TutumApiError(no_tutumd(str(response.request.url)), request=described) from error
    return ApiResponse(body=body, action_uri=response.headers.get("X-Tutum-Action-URI"))


def no_tutumd(url: str) -> str:
    """Return the text of an error about a server that is another program."""
    return (
        f"{origin_of(url)} does not answer like a tutumd server: check the host, the port and the path of the URL. "
        'It is set by "tutum login --host URL", TUTUM_REST_HOST or TUTUM_BASE_URL'
    )


def _error_of(response: httpx2.Response, *, described: str) -> TutumApiError:
    status = response.status_code
    # A server may quote only the handler's UUID; the path of the request shows which word it is.
    message = redact(str(_json_object(response).get("error") or ""), known_from=response.request.url.path)
    if status in (400, 404, 405) and not message:
        return TutumApiError(no_tutumd(str(response.request.url)), status=status, request=described)
    if status == 401:
        return TutumAuthError(message or "not authorized", status=status, request=described)
    if status == 404:
        return ObjectNotFound(message, status=status, request=described)
    if 300 <= status < 400:
        message = "the server redirects; check the base URL"
    wait_s = retry_after_s(response)
    if wait_s is not None:
        message = f"{message or 'the server is busy'}; try again in {wait_s:.0f} s"
    return TutumApiError(message or response.reason_phrase or "the request failed", status=status, request=described)


def _json_object(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def retry_after_s(response: httpx2.Response) -> float | None:
    """Return the delay in seconds that a busy server requests; None if it requests none."""
    text = response.headers.get("Retry-After", "").strip()
    is_busy = response.status_code in {429, 503}
    return float(text[:9]) if is_busy and text.isascii() and text.isdigit() else None


def explain_tls(failure: BaseException | None) -> str:
    """Return the cause and remedy of a TLS failure, if an error or its cause is about TLS; else an empty text."""
    while failure is not None and not isinstance(failure, ssl.SSLError):
        failure = failure.__cause__ or failure.__context__
    if isinstance(failure, ssl.SSLCertVerificationError):
        advice = _ADVICE.get(failure.verify_code, _OWN_CA)
        return f"its certificate is not valid ({failure.verify_message}): {advice}"
    return f"TLS failed ({failure.reason}): does the URL need http://, or another port?" if failure else ""
