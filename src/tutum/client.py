"""Talks to one server: sends requests, repeats safe ones, turns bad answers into errors."""

from __future__ import annotations

import json
import logging
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from tutum.clock import Clock, SystemClock
from tutum.errors import TutumApiError, TutumConnectionError
from tutum.paths import origin_of, path_of
from tutum.redaction import guard_transport_logs, redact
from tutum.responses import Answer, answer_of
from tutum.retries import pause_before_retry_s
from tutum.settings import CONFIG_FILE, Source, settings_of, source_of_environment, source_of_file
from tutum.version import __version__

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger("tutum")

FilterValue = str | int | bool | None


class Client:
    """A connection to one server, with credentials. Threads may share it."""

    def __init__(
        self,
        *,
        user: str | None = None,
        apikey: str | None = None,
        auth: str | None = None,
        base_url: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 2,
        transport: httpx2.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Configure a client; nothing is sent yet.

        What is not given comes from `tutum.user` and its neighbours, then the environment, then ~/.tutum.

        Args:
            auth: Whole Authorization header, instead of user and apikey.
            base_url: Root of the API, such as http://127.0.0.1:8000/api/v1/.
            timeout_s: Longest time to wait for a connection, and for each part of an answer.
            retries: How often GET and HEAD are sent again when the server is out of reach or overloaded.
            transport: Carries the requests, for tests.

        Raises:
            TutumApiError: The URL or the credentials cannot be used.
        """
        given = Source(user=user, apikey=apikey, authorization=auth, base_url=base_url)
        self.settings = settings_of([given, *_ambient_sources()])
        self.timeout_s = timeout_s
        self.retries = retries
        self.clock: Clock = clock or SystemClock()
        self._transport = transport
        self._http: httpx2.Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Client {redact(self.settings.base_url)}>"

    @property
    def base_url(self) -> str:
        """Root of the API; ends in a slash."""
        return self.settings.base_url

    def absolute_url(self, path: str) -> str:
        """Return the full URL of a path that the server named, such as the `url` of a handler."""
        return urljoin(self.base_url, path)

    def send(
        self,
        method: str,
        *segments: str,
        params: Mapping[str, FilterValue] | None = None,
        body: Any = None,
        authorization: str | None = None,
    ) -> Answer:
        """Send a request to the path below `base_url` that is made of `segments`.

        Args:
            body: Sent as JSON; None sends no body.
            authorization: Header to send instead of the configured one.

        Raises:
            TutumAuthError: 401.
            ObjectNotFound: 404.
            TutumConnectionError: No answer.
            TutumApiError: Any other answer that is not a success, or not JSON.
        """
        value = authorization or self.settings.authorization
        content = json.dumps(body).encode() if body is not None else None
        return self._send(method, path_of(segments), params, {"Authorization": value} if value else {}, content)

    def send_anonymously(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, FilterValue] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        wait_s: float = 0,
    ) -> Answer:
        """Send a request without credentials; that a run ended badly or is not over (502, 504) is an answer too.

        Args:
            path: Below `base_url`, or one that the server named, which begins with a slash.
            wait_s: How long the server was asked to hold its answer.

        Raises:
            TutumApiError: As `send`.
        """
        return self._send(method, path, params, dict(headers or {}), content, wait_s)

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, FilterValue] | None,
        headers: Mapping[str, str],
        content: bytes | None,
        wait_s: float = 0,
    ) -> Answer:
        import httpx2

        longest_s = self.timeout_s + wait_s
        try:
            request = self._open().build_request(
                method,
                self.absolute_url(path),
                params={key: _filter_text(value) for key, value in (params or {}).items() if value is not None} or None,
                headers={key.encode(): value.encode() for key, value in headers.items()},
                content=content,
                timeout=httpx2.Timeout(longest_s, connect=min(self.timeout_s, 10.0)),
            )
        except httpx2.InvalidURL as error:
            raise TutumApiError(f"the server's URL is not valid: {redact(str(error))}") from error
        shown = path if path.startswith("/") else f"/{path}"
        return answer_of(self._deliver(request), described=redact(f"{method} {shown}"))

    def pages(self, *segments: str, params: Mapping[str, FilterValue] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list, asking for its pages as they are needed.

        Raises:
            TutumApiError: As `send`, or the answer is not a list, or its pages do not end.
        """
        query: dict[str, FilterValue] = {"limit": 100, **(params or {})}
        seen: set[str] = set()
        while True:
            body = self.send("GET", *segments, params=query).body
            if not isinstance(body, dict) or not isinstance(body.get("objects"), list):
                raise TutumApiError(f"the server did not answer with a list of objects; is {self.base_url} the API?")
            yield from body["objects"]
            following = (body.get("meta") or {}).get("next")
            if not following:
                return
            if following in seen:
                raise TutumApiError("the server's list does not end: it names the same next page twice")
            seen.add(following)
            # Only the query counts: credentials go to no host that an answer names.
            query = dict(parse_qsl(urlsplit(following).query))

    def close(self) -> None:
        """Close the connections; the client opens new ones if it is used again."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    def _open(self) -> httpx2.Client:
        import httpx2  # takes longer to load than everything else together

        with self._lock:
            if self._http is None:
                guard_transport_logs()
                self._http = httpx2.Client(
                    transport=self._transport,
                    timeout=httpx2.Timeout(self.timeout_s, connect=min(self.timeout_s, 10.0)),
                    headers={
                        "Accept": "application/json",
                        "Content-Type": "application/json",
                        "User-Agent": f"tutum/{__version__}",
                    },
                    follow_redirects=False,
                )
                weakref.finalize(self, self._http.close)
            return self._http

    def _deliver(self, request: httpx2.Request) -> httpx2.Response:
        import httpx2

        described = redact(f"{request.method} {request.url.path}")
        attempt = 0
        while True:
            attempt += 1
            status: int | None = None
            retry_after: str | None = None
            response: httpx2.Response | None = None
            failure: httpx2.RequestError | None = None
            try:
                response = self._open().send(request)
                status, retry_after = response.status_code, response.headers.get("Retry-After")
            except httpx2.RequestError as error:
                failure = error
            pause_s = pause_before_retry_s(
                method=request.method, attempt=attempt, retries=self.retries, status=status, retry_after=retry_after
            )
            if pause_s is None and response is not None:
                return response
            if pause_s is None:
                raise TutumConnectionError(
                    f"cannot reach {origin_of(self.base_url)}: {_reason(failure)}", request=described
                ) from failure
            log.info("request will be repeated: %s, status %s, in %.1f s", described, status, pause_s)
            self.clock.sleep(pause_s)


_shared: Client | None = None
_shared_lock = threading.Lock()


def current_client() -> Client:
    """Return `tutum.default_client`, or a client of the present settings, which is kept for the next call."""
    import tutum

    global _shared
    if tutum.default_client is not None:
        return tutum.default_client
    settings = settings_of(_ambient_sources())
    with _shared_lock:
        if _shared is None or _shared.settings != settings:
            _shared = Client()
        return _shared


def _ambient_sources() -> list[Source]:
    import tutum

    return [
        Source(user=tutum.user, apikey=tutum.apikey, authorization=tutum.tutum_auth, base_url=tutum.base_url),
        source_of_environment(os.environ),
        source_of_file(Path(CONFIG_FILE).expanduser()),
    ]


def _reason(failure: Exception | None) -> str:
    text = redact(str(failure)).strip()
    return text or type(failure).__name__


def _filter_text(value: FilterValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
