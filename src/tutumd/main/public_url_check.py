"""Check of `tutumd doctor` whether callers reach a tutumd by the public URL."""

import errno
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from tutumd.application.public_url import SUBJECT, is_local, judge_address
from tutumd.model.findings import Finding, ok, warning, wrong

_LIMIT_S = 4.0
_DAYS_LEFT = 10
_DAY_S = 86_400
_REDIRECTS = (301, 302, 303, 307, 308)
_BAD_GATEWAY = (502, 503, 504)
_FIXES: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "renew the certificate, or let the proxy send the whole chain for this host name"),
    (ssl.SSLError, "correct the port, or let the proxy speak TLS there"),
    (socket.gaierror, "make a DNS record for the host name"),
    (TimeoutError, "open the firewall"),
    (ConnectionRefusedError, "start the proxy, or correct the port"),
    (Exception, "check the proxy"),
)


def check_public_url(url: str) -> Iterator[Finding]:
    """Yield the findings about a public URL; empty: it is not set."""
    if finding := judge_address(url):
        yield finding
    if not url:
        return
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        with closing(kind(parts.hostname or "", parts.port, timeout=_LIMIT_S)) as connection:
            connection.connect()
            yield from _check_certificate(connection)
            connection.request("GET", f"{parts.path}/healthz", headers={"User-Agent": "tutumd-doctor"})
            response = connection.getresponse()
            yield _judge_answer(url, response.status, response.read(64 * 1024))
    except (OSError, http.client.HTTPException) as error:
        yield _unreachable(url, error)


def _check_certificate(connection: http.client.HTTPConnection) -> Iterator[Finding]:
    if isinstance(connection.sock, ssl.SSLSocket):
        ends = str((connection.sock.getpeercert() or {}).get("notAfter"))
        days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY_S
        if days < _DAYS_LEFT:
            yield warning(SUBJECT, f"its certificate ends in {days:.0f} days", "check why the proxy does not renew it")


def _judge_answer(url: str, status: int, body: bytes) -> Finding:
    if status in _REDIRECTS:
        fix = "set the URL that it redirects to: senders do not follow redirects of a POST"
        return wrong(SUBJECT, f"{url} redirects", fix)
    if status in _BAD_GATEWAY:
        fix = "start tutumd, and let the proxy forward to the address in --host and --port"
        return wrong(SUBJECT, f"{url}/healthz answers {status}: the proxy does not reach tutumd", fix)
    if status != 200 or not _is_healthy(body):
        fix = "let the proxy forward this host and path to tutumd"
        return wrong(SUBJECT, f"{url}/healthz answers {status}, and not as tutumd does", fix)
    return ok(SUBJECT, f"{url} leads to a tutumd")


def _is_healthy(body: bytes) -> bool:
    try:
        return bool(json.loads(body) == {"status": "ok"})
    except ValueError:
        return False


def _unreachable(url: str, error: Exception) -> Finding:
    number = getattr(error, "errno", None)
    has_no_network = number == errno.ENETUNREACH or (isinstance(error, socket.gaierror) and number == socket.EAI_AGAIN)
    # In a container, a local address means the container itself.
    is_elsewhere = isinstance(error, ConnectionRefusedError) and is_local(urlsplit(url).hostname or "")
    if has_no_network or is_elsewhere:
        text = f"{url} cannot be tried from here: {getattr(error, 'strerror', None) or error}"
        return warning(SUBJECT, text, f"try it from a machine that reaches it: curl {url}/healthz")
    reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error or type(error).__name__
    fix = next(fix for kind, fix in _FIXES if isinstance(error, kind))
    other = f"if only this machine or container cannot reach it, try another one: curl {url}/healthz"
    return wrong(SUBJECT, f"{url} cannot be reached: {reason}", f"{fix}; {other}")
