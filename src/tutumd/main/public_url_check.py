"""Whether callers reach this server by the public URL: the name, the port, the certificate, and what answers."""

import errno
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from tutumd.application.public_url import SUBJECT as _SUBJECT
from tutumd.application.public_url import is_local, judge_address
from tutumd.model.findings import Finding, ok, warning, wrong

_LIMIT_S = 4.0
_DAYS_LEFT = 10
_DAY_S = 86_400
_FROM_OUTSIDE = "if only this machine or container cannot reach it, try from another one: curl {url}/healthz"
_REDIRECTS = (301, 302, 303, 307, 308)
_BAD_GATEWAY = (502, 503, 504)


def check_public_url(url: str, status_path: str | None, *, serves_others: bool = False) -> Iterator[Finding]:
    """Yield the findings about a public URL.

    Args:
        status_path: A path that only this server with this key and database answers with 200; None if there is none.
        serves_others: The server listens for other machines and containers, so the proxy may run in one of them.
    """
    if finding := judge_address(url):
        yield finding
    try:
        with closing(_connect(url)) as connection:
            yield from _check_certificate(connection)
            yield from _check_answers(connection, url, status_path)
    except ConnectionRefusedError as error:
        if serves_others and is_local(urlsplit(url).hostname or ""):
            # In a container, these addresses mean the container itself.
            mend = f"try it on the machine whose address it is: curl {url}/healthz"
            yield warning(_SUBJECT, f"{url} cannot be tried from here, where nothing listens on it", mend)
        else:
            yield _unreachable(url, error)
    except (OSError, http.client.HTTPException) as error:
        yield _unreachable(url, error)


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_LIMIT_S)
    connection.connect()
    return connection


def _check_certificate(connection: http.client.HTTPConnection) -> Iterator[Finding]:
    if not isinstance(connection.sock, ssl.SSLSocket):
        return
    ends = str((connection.sock.getpeercert() or {}).get("notAfter"))
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY_S
    if days < _DAYS_LEFT:
        mend = "look why the proxy does not renew it"
        yield warning(_SUBJECT, f"its certificate ends in {days:.0f} days", mend)
    else:
        yield ok(_SUBJECT, f"its certificate is valid for {days:.0f} days")


def _check_answers(connection: http.client.HTTPConnection, url: str, status_path: str | None) -> Iterator[Finding]:
    status, body = _get(connection, f"{urlsplit(url).path}/healthz")
    if status in _REDIRECTS:
        mend = "name the URL that it redirects to: senders do not follow redirects of a POST"
        yield wrong(_SUBJECT, f"{url} redirects", mend)
    elif status in _BAD_GATEWAY:
        mend = "start tutumd, and let the proxy lead to the address in --host and --port"
        yield wrong(_SUBJECT, f"{url}/healthz answers {status}: the proxy does not reach tutumd", mend)
    elif status != 200 or not _is_healthy(body):
        mend = "let the proxy lead this host and path to tutumd"
        yield wrong(_SUBJECT, f"{url}/healthz answers {status}, and not as tutumd does", mend)
    elif status_path is None:
        yield ok(_SUBJECT, f"{url} answers as tutumd does; whether it is this server shows after the first call")
    elif _get(connection, f"{urlsplit(url).path}{status_path}")[0] == 200:
        yield ok(_SUBJECT, f"{url} leads to this server")
    else:
        mend = "correct --public-url or the proxy; behind several servers, give all the same TUTUMD_SECRET_KEY"
        yield wrong(_SUBJECT, f"{url} leads to another tutumd, with another database or key", mend)


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path, headers={"User-Agent": "tutumd-doctor"})
    response = connection.getresponse()
    return response.status, response.read(64 * 1024)


def _is_healthy(body: bytes) -> bool:
    try:
        return bool(json.loads(body) == {"status": "ok"})
    except ValueError:
        return False


def _unreachable(url: str, error: Exception) -> Finding:
    outside = _FROM_OUTSIDE.format(url=url)
    number = getattr(error, "errno", None)
    if number == errno.ENETUNREACH or (isinstance(error, socket.gaierror) and number == socket.EAI_AGAIN):
        # An internal network of Docker, or no network at all: that says nothing of the URL.
        mend = f"look from a machine that has one: curl {url}/healthz"
        return warning(_SUBJECT, f"{url} cannot be tried: there is no way out from here ({error})", mend)
    if isinstance(error, ssl.SSLCertVerificationError):
        mend = "renew it, or let the proxy send the whole chain for this host name"
        return wrong(_SUBJECT, f"the certificate of {url} is not valid: {error.verify_message}", mend)
    if isinstance(error, ssl.SSLError):
        return wrong(_SUBJECT, f"{url} does not speak TLS: {error.reason}", "correct the port, or the proxy")
    if isinstance(error, socket.gaierror):
        mend = f"make a DNS record for it; {outside}"
        return wrong(_SUBJECT, f"the host name of {url} is unknown: {error.strerror}", mend)
    if isinstance(error, TimeoutError):
        return wrong(_SUBJECT, f"{url} does not answer within {_LIMIT_S:g} s", f"open the firewall; {outside}")
    if isinstance(error, ConnectionRefusedError):
        return wrong(_SUBJECT, f"{url} refuses connections", f"start the proxy, or correct the port; {outside}")
    return wrong(_SUBJECT, f"{url} cannot be read: {error or type(error).__name__}", outside)
