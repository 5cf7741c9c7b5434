"""Requests to receivers of users: checked addresses, fixed limits, and errors without secrets."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2

from tutumd.application.admission.headers import Network
from tutumd.notifier.addresses import judge

CONNECT_S = 5.0
"""Time to resolve the host and to connect."""

TOTAL_S = 15.0
DOCUMENT_S = 5.0
DOCUMENT_BYTES = 1024 * 1024
"""Limits of documents, which are read whole."""

MAX_ADDRESSES = 5
"""Number of a host's addresses to which a connection is tried, one after another."""

BODY_BYTES = 4096
_READ_BYTES = 256 * 1024
"""Maximum size of a response on the wire, with its headers and its TLS records; for documents beside their body."""

_SEND_BUFFER = (socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
"""The system takes a whole message, so that a receiver cannot slow down its sending."""

_SHORTEST_S = 0.1


class UnreachableError(Exception):
    """There is no response. The text contains no path, no query and no secret.

    Attributes:
        is_final: Another attempt fails in the same way, unless the target or a setting is changed.
    """

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response.

    Attributes:
        retry_after_s: Time in seconds for which the receiver wants no further request; None: it says nothing.
        body: Its first 4 KiB. No text may quote it.
    """

    status: int
    retry_after_s: float | None
    body: bytes


Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host, in the order of preference. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Outbound:
    """Sends requests. One object serves several threads."""

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        user_agent: str,
        resolve: Resolve = resolve,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        tls: ssl.SSLContext | None = None,
        limits_s: tuple[float, float] = (CONNECT_S, TOTAL_S),
    ) -> None:
        """Prepare requests.

        Args:
            allowed: Networks of the setting `notify_allow`: not public, or reached without TLS.
            tls: Replaces the trust in the authorities of the system, for tests.
            limits_s: Replaces the time to connect and the time in all, for tests.
        """
        self._allowed = allowed
        self._user_agent = user_agent
        self._resolve = resolve
        self._now = now
        self._tls = tls or httpcore2.default_ssl_context()
        self._limits_s = limits_s

    def post(self, url: str, headers: Mapping[str, str], body: bytes, *, may_use_proxy: bool = False) -> Response:
        """Send a POST, and return the response within 15 seconds. Redirects are not followed.

        Args:
            url: In ASCII, without a user and a fragment.
            may_use_proxy: Send it through `HTTPS_PROXY`, if that is set. The proxy resolves the host then.

        Raises:
            UnreachableError: There is no response.
        """
        with self._open("POST", url, headers, body, TOTAL_S, _READ_BYTES, may_use_proxy=may_use_proxy) as response:
            return Response(
                status=response.status,
                retry_after_s=_read_retry_after(response.headers, self._now()),
                body=_read_start(response.iter_stream()),
            )

    def get(self, url: str) -> bytes:
        """Return a document of at most 1 MiB within 5 seconds. Redirects are not followed.

        Args:
            url: As for `post`. `HTTPS_PROXY` is used.

        Raises:
            UnreachableError: There is no such document, or it is too long.
        """
        host, found = urlsplit(url).hostname, b""
        max_bytes = DOCUMENT_BYTES + _READ_BYTES
        with self._open("GET", url, {}, None, DOCUMENT_S, max_bytes, may_use_proxy=True) as response:
            if response.status != 200:
                raise UnreachableError(f"{host} responded with the status {response.status}")
            for chunk in response.iter_stream():
                found += chunk
                if len(found) > DOCUMENT_BYTES:
                    raise UnreachableError(f"{host} sent more than 1 MiB")
        return found

    @contextmanager
    def _open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        total_s: float,
        max_bytes: int,
        *,
        may_use_proxy: bool,
    ) -> Iterator[httpcore2.Response]:
        """Send a request, and yield the response, whose body can be read. Raises as `post` does."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        proxy = _find_proxy(host) if may_use_proxy and parts.scheme == "https" else None
        check = partial(self._check, host, needs_network=parts.scheme == "http")
        if proxy:
            with suppress(ValueError):  # a name, which the proxy resolves
                check([host])
        connect_s, longest_s = self._limits_s
        limits = connect_s, min(longest_s, total_s), max_bytes
        backend = _Backend(self._resolve, (lambda _: None) if proxy else check, *limits)
        sent = {"Host": parts.netloc, "User-Agent": self._user_agent, "Connection": "close", **headers}
        try:
            with (
                httpcore2.ConnectionPool(ssl_context=self._tls, network_backend=backend, proxy=proxy) as pool,
                pool.stream(method, url, headers=list(sent.items()), content=body) as response,
            ):
                yield response
        except (*_FAULTS, httpcore2.ProxyError, OSError, ValueError, TypeError) as error:
            raise UnreachableError(_explain(error, host, total_s, has_proxy=proxy is not None)) from None

    def _check(self, host: str, addresses: Sequence[str], *, needs_network: bool) -> None:
        """Raise UnreachableError if one of the host's addresses is refused."""
        for address in addresses:
            if reason := judge(address, self._allowed, needs_network=needs_network):
                raise UnreachableError(f"{host} {'is' if host == address else 'has'} {reason}", is_final=True)


class _Backend(httpcore2.NetworkBackend):
    """Connects to an address that was checked. TLS and the request still name the host."""

    def __init__(
        self,
        resolve: Resolve,
        check: Callable[[Sequence[str]], None],
        connect_s: float,
        total_s: float,
        max_bytes: int,
    ) -> None:
        self._resolve = resolve
        self._check = check
        self._connect_end, self._end = (time.monotonic() + limit_s for limit_s in (connect_s, total_s))
        self._max_bytes = max_bytes

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = self._find(host, port)
        self._check(addresses)
        tried = addresses[:MAX_ADDRESSES]
        for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
            try:
                # An address that does not respond leaves time for the others.
                limit_s = max((self._connect_end - time.monotonic()) / left, _SHORTEST_S)
                stream = httpcore2.SyncBackend().connect_tcp(address, port, limit_s, None, [_SEND_BUFFER])
                return _Stream(stream, self._end, self._max_bytes)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if left == 1:
                    raise
        raise UnreachableError(f"{host} has no address")

    def _find(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host, within the time to connect: the system's resolver may take longer."""
        found: Future[Sequence[str]] = Future()

        def run() -> None:
            try:
                found.set_result(self._resolve(host, port))
            except (OSError, UnicodeError) as error:
                found.set_exception(error)

        Thread(target=run, name="resolve", daemon=True).start()
        try:
            return found.result(self._connect_end - time.monotonic())
        except TimeoutError:
            raise UnreachableError(f"{host} was not resolved within {CONNECT_S:g} s") from None
        except (OSError, UnicodeError) as error:
            raise UnreachableError(f"{host} cannot be resolved: {getattr(error, 'strerror', '') or error}") from None


class _Stream(httpcore2.NetworkStream):
    """A connection with a time at which it ends, whatever the receiver does, and a maximum size of the response."""

    def __init__(self, stream: httpcore2.NetworkStream, end: float, max_bytes: int) -> None:
        self._stream = stream
        self._end = end
        self._left_bytes = max_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        found = self._stream.read(max_bytes, self._left())
        self._left_bytes -= len(found)
        if self._left_bytes < 0:
            raise httpcore2.RemoteProtocolError
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._left())
        return _Stream(stream, self._end, self._left_bytes)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return left


def _find_proxy(host: str) -> httpcore2.Proxy | None:
    """Return the proxy of `HTTPS_PROXY`, unless `NO_PROXY` names the host."""
    url = getproxies().get("https", "")
    if not url or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:  # a connection with TLS within TLS has no time limit
        raise UnreachableError("HTTPS_PROXY of the notifier must be like http://HOST:PORT")
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return httpcore2.Proxy(httpcore2.URL(scheme="http", host=parts.hostname, port=parts.port or 80), auth)


def _read_retry_after(headers: Sequence[tuple[bytes, bytes]], now: datetime) -> float | None:
    """Return the seconds of `Retry-After`: RFC 9110, section 10.2.3."""
    value = next((value for name, value in headers if name.lower() == b"retry-after"), b"").strip().decode("latin-1")
    if re.fullmatch(r"[0-9]{1,12}", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
        return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _read_start(chunks: Iterable[bytes]) -> bytes:
    """Return the first 4 KiB of a body, or what came before a fault."""
    found = b""
    with suppress(*_FAULTS):  # the status is known, and says what counts
        for chunk in chunks:
            found += chunk[: BODY_BYTES - len(found)]
            if len(found) >= BODY_BYTES:
                break
    return found


_FAULTS = (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError)


def _explain(error: Exception, host: str, total_s: float, *, has_proxy: bool) -> str:
    """Return a reason that quotes nothing of the request and the response."""
    cause = error.args[0] if error.args and isinstance(error.args[0], OSError) else error
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "verify_message", "") or (cause.reason or "").replace("_", " ").lower()
        return f"TLS with {host} failed: {reason or 'the connection was closed'}"
    peer = "the proxy of HTTPS_PROXY" if has_proxy else host
    match error:
        case httpcore2.ConnectTimeout():
            return f"{peer} did not accept the connection within {CONNECT_S:g} s"
        case httpcore2.ConnectError():
            return f"{peer} cannot be reached: {getattr(cause, 'strerror', None) or 'the connection failed'}"
        case httpcore2.ProxyError():
            return f"the proxy of HTTPS_PROXY refused to connect to {host}"
        case httpcore2.TimeoutException():
            return f"{host} did not respond completely within {total_s:g} s"
        case httpcore2.RemoteProtocolError() if "disconnected" not in str(error):
            return f"the response of {host} is not HTTP/1.1, or its headers are longer than 100 kB"
        case httpcore2.NetworkError() | httpcore2.ProtocolError():
            return f"{host} closed the connection before it responded"
        case _:
            return f"the request to {host} cannot be sent: {type(error).__name__}"
