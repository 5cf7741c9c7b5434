"""A connection to one server: sends requests, repeats safe requests, turns refusals into errors."""

from __future__ import annotations

import json
import logging
import os
import random
import time
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

import tutum
from tutum.errors import TutumApiError, TutumConnectionError
from tutum.redaction import guard_transport_logs, redact
from tutum.responses import ApiResponse, decode, explain_tls, no_tutumd, retry_after_s
from tutum.settings import (
    CONFIG_FILE,
    Settings,
    Source,
    origin_of,
    settings_of,
    source_of_environment,
    source_of_file,
)
from tutum.version import __version__


class Clock(Protocol):
    """Monotonic time and waiting, as the module `time` provides them."""

    def monotonic(self) -> float:
        """Return seconds since a fixed moment."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


if TYPE_CHECKING:
    import httpx2

LONGEST_RETRY_AFTER_S = 30.0
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

        Defaults come from `tutum.user` and the other module attributes, then the environment, then ~/.tutum.

        Args:
            auth: Complete Authorization header, instead of user and apikey.
            base_url: Root of the API, such as http://127.0.0.1:8000/api/v1/.
            timeout_s: Maximum time to wait for a connection, and for each part of a response.
            retries: Number of repetitions of GET and HEAD if the server cannot be reached or is overloaded.
            transport: Carries the requests, for tests.

        Raises:
            TutumApiError: The URL or the credentials cannot be used.
        """
        given = Source(user=user, apikey=apikey, authorization=auth, base_url=base_url)
        self.settings = settings_of([given, *default_sources()])
        self.timeout_s = timeout_s
        self.retries = retries
        self.clock: Clock = clock or time
        self._transport = transport

    @property
    def base_url(self) -> str:
        """Root of the API; ends in a slash."""
        return self.settings.base_url

    def absolute_url(self, path: str) -> str:
        """Return the full URL of a path from the server, such as the `url` of a handler.

        If a proxy serves the API below a path, such as https://example.com/hooks/api/v1/, the result also has that
        path.
        """
        server, _, _ = self.base_url.rpartition("/api/v1/")
        return server + path if server and path.startswith("/api/") else urljoin(self.base_url, path)

    def send(
        self,
        method: str,
        *segments: str,
        params: Mapping[str, FilterValue] | None = None,
        body: Any = None,
        authorization: str | None = None,
    ) -> ApiResponse:
        """Send a request to the path below `base_url` that consists of `segments`.

        Args:
            body: Sent as JSON; None sends no body. A date without a time zone is local time.
            authorization: Header to send instead of the configured one.

        Raises:
            TutumAuthError: 401.
            ObjectNotFound: 404.
            TutumConnectionError: No response.
            TutumApiError: Any other response that is not a success, or not JSON.
        """
        value = authorization or self.settings.authorization
        return self.request(
            method,
            path_of(segments),
            params=params,
            headers={"Authorization": value} if value else None,
            content=json.dumps(body, default=lambda date: date.astimezone(UTC).isoformat()).encode()
            if body is not None
            else None,
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, FilterValue] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        wait_s: float = 0,
    ) -> ApiResponse:
        """Send a request without the client's credentials.

        A run that failed or has not ended (502, 504) is a response, not an error.

        Args:
            path: Below `base_url`; or, if it begins with a slash, from the root of the server.
            wait_s: How long the server was asked to wait before it responds.

        Raises:
            TutumApiError: As `send`.
        """
        import httpx2

        try:
            request = self._http.build_request(
                method,
                self.absolute_url(path),
                params={name: value for name, value in (params or {}).items() if value is not None} or None,
                headers={key.encode(): value.encode() for key, value in (headers or {}).items()},
                content=content,
                timeout=httpx2.Timeout(self.timeout_s + wait_s, connect=min(self.timeout_s, 10.0)),
            )
        except httpx2.InvalidURL as error:
            raise TutumApiError(f"the server's URL is not valid: {redact(str(error))}") from error
        described = redact(f"{method} /{path.removeprefix('/')}")
        return decode(self._deliver(request, described), described=described)

    def pages(self, *segments: str, params: Mapping[str, FilterValue] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list. Each page is fetched when it is needed.

        Raises:
            TutumApiError: As `send`, or the response is not a list, or its pages do not end.
        """
        query: dict[str, FilterValue] = {"limit": 100, **(params or {})}
        visited: set[str] = set()
        while True:
            body = self.send("GET", *segments, params=query).body
            if not isinstance(body, dict) or not isinstance(body.get("objects"), list):
                raise TutumApiError(no_tutumd(self.base_url))
            yield from body["objects"]
            next_page = (body.get("meta") or {}).get("next")
            if not next_page:
                return
            if next_page in visited:  # a proxy or cache may ignore the query
                raise TutumApiError("the server's list does not end: it names the same next page twice")
            visited.add(next_page)
            # Only the query is used: a response cannot direct the credentials to another host.
            query = dict(parse_qsl(urlsplit(next_page).query))

    def close(self) -> None:
        """Close the connections. The client opens new ones if it is used again."""
        http: httpx2.Client | None = vars(self).pop("_http", None)
        if http is not None:
            http.close()

    @cached_property
    def _http(self) -> httpx2.Client:
        import httpx2  # takes longer to load than everything else together

        guard_transport_logs()
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"tutum/{__version__}",
        }
        try:
            http = httpx2.Client(transport=self._transport, headers=headers, follow_redirects=False)
        except OSError as error:
            raise TutumApiError(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be used: {error.strerror}") from error
        weakref.finalize(self, http.close)
        return http

    def _deliver(self, request: httpx2.Request, described: str) -> httpx2.Response:
        import httpx2

        repeats = self.retries if request.method in {"GET", "HEAD"} else 0
        attempt = 0
        while True:
            pause_s = 0.2 * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing
            try:
                response = self._http.send(request)
            except httpx2.RequestError as error:
                if attempt >= repeats:
                    reason = explain_tls(error) or redact(str(error)).strip() or type(error).__name__
                    raise TutumConnectionError(
                        f"cannot reach {origin_of(self.base_url)}: {reason}", request=described
                    ) from error
            else:
                requested_s = retry_after_s(response)
                pause_s = pause_s if requested_s is None else requested_s
                is_temporary = response.status_code in {429, 502, 503, 504} and pause_s <= LONGEST_RETRY_AFTER_S
                if attempt >= repeats or not is_temporary:
                    return response
            log.info("request will be repeated: %s, in %.1f s", described, pause_s)
            self.clock.sleep(pause_s)
            attempt += 1


def path_of(segments: tuple[str, ...]) -> str:
    """Return path segments, encoded and joined, with a slash at the end.

    Raises:
        TutumApiError: A segment is empty or consists of dots, and would name another object.
    """
    if any(segment.strip(".") == "" for segment in segments):
        raise TutumApiError("an identifier is empty; save the object first, or name one")
    return "".join(f"{quote(segment, safe='')}/" for segment in segments)


def current_client() -> Client:
    """Return `tutum.default_client`; or a client with the current settings, kept until these change."""
    return tutum.default_client or _client_of(settings_of(default_sources()))


@lru_cache(maxsize=1)
def _client_of(settings: Settings) -> Client:
    return Client()


def default_sources() -> list[Source]:
    """Return the settings of the module, the environment and the file."""
    return [
        Source(user=tutum.user, apikey=tutum.apikey, authorization=tutum.tutum_auth, base_url=tutum.base_url),
        source_of_environment(os.environ),
        source_of_file(Path(CONFIG_FILE).expanduser()),
    ]
