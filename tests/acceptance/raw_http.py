"""Raw HTTP requests, as hostile or careless clients send them, and all objects of a server."""

import http.client
import json
import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.support.api import APIKEY, LIMIT_S, USER, Answer, Api
from tests.support.waiting import wait_until

CREDENTIALS = f"Authorization: ApiKey {USER}:{APIKEY}"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
"""A UUID that nothing has."""
_CALL = "api/v1/service/a/webhook/handler/b/call/"
DISGUISED = [
    *(f"/account/{up}{_CALL}" for up in ("../", "%2e%2e/", ".%2E/", "..%2f", "%2e%2e%2f", "..%252f", "./../", "/../")),
    *(
        f"{start}/account/"
        for start in ("/api/..", "/api/%2e%2e", "/api/v1/../..", "//api/..", f"/{_CALL}" + "../" * 8)
    ),
    f"//account/%2e%2e/{_CALL}",
    f"/account%2f..%2f{_CALL}",
    f"/{_CALL}..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2faccount/",
    "/api%2f..%2faccount/",
    "/API/../account/",
]
"""Paths that a proxy may take for calls or the API, and a server for pages."""


def request(
    method: str, path: str, body: bytes = b"", headers: Iterable[str] = (CREDENTIALS,), *, length: int | None = None
) -> bytes:
    """Return the bytes of a request. `length` is its Content-Length, by default the true one."""
    lines = [f"{method} {path} HTTP/1.1", "Host: dashboard.tutum.co", *headers]
    if "Transfer-Encoding: chunked" not in lines:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(body: bytes, size: int = 65536) -> bytes:
    """Return a body in chunks."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in [*pieces, b""])


class Connection:
    """A TCP connection for several requests, from any address of loopback."""

    def __init__(self, server: Api, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S, source_address=(source, 0))

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, raw: bytes) -> None:
        """Send bytes. The server may have refused and closed its side."""
        try:
            self._socket.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, method: str = "POST") -> Answer:
        """Return the next response."""
        response = http.client.HTTPResponse(self._socket, method=method)
        # HTTPResponse reads no further than its own body, so the next response stays in the buffer.
        response.begin()
        body = response.read()
        return Answer(status=response.status, headers={k.lower(): v for k, v in response.getheaders()}, body=body)

    def wait_for_continue(self) -> None:
        """Read the response that requests the body."""
        expected = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert self._socket.recv(len(expected), socket.MSG_WAITALL) == expected

    def closes_within(self, limit_s: float) -> bool:
        """Return whether the server closes the connection by itself."""
        self._socket.settimeout(limit_s)
        return self.is_closed

    @property
    def is_closed(self) -> bool:
        """Whether the server closes the connection; waits for that."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True


def other_address() -> str:
    """Return an address of loopback that hardly another test uses: failed sign-ins are limited for each."""
    return f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"


def exchange(server: Api, raw: bytes, source: str = "127.0.0.1") -> Answer:
    """Send bytes over a new connection, and return the response."""
    with Connection(server, source) as connection:
        connection.send(raw)
        return connection.answer(raw.split(b" ", 1)[0].decode("latin-1"))


def holdings(server: Api) -> dict[str, list[dict[str, Any]]]:
    """Return all services, handlers and actions of the server, once every action of earlier tests has ended.

    Without what the engine reports of services: processes of earlier tests may still be ending.
    """
    wait_until(lambda: not _live_actions(server), "all actions have ended")
    services = server.objects("/api/v1/service/")
    handlers = [each for service in services for each in server.objects(f"{service['resource_uri']}webhook/handler/")]
    for service in services:
        for name in ("state", "running_num_containers", "stopped_num_containers", "containers"):
            del service[name]
    return {"services": services, "handlers": handlers, "actions": server.objects("/api/v1/action/")}


def _live_actions(server: Api) -> list[dict[str, Any]]:
    states = ("Pending", "In progress", "Canceling")
    return [action for action in server.objects("/api/v1/action/") if action["state"] in states]


def check_refusal(answer: Answer, *statuses: int) -> str:
    """Check that a response is an error as the contract defines it, and return its text."""
    assert answer.status in statuses, (answer.status, answer.body[:300])
    assert answer.headers["content-type"] == "application/json"
    document = json.loads(answer.body)
    assert list(document) == ["error"]
    text = document["error"]
    assert isinstance(text, str)
    assert 8 < len(text) <= 500, text
    for foreign in ("Traceback", "instance of", "pydantic", "Input should", "<"):
        assert foreign not in text, text
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A service with a handler that no test may change."""

    server: Api
    service: str
    handler: str
    other_service: str
    scaling: str

    @property
    def handlers(self) -> str:
        return f"/api/v1/service/{self.service}/webhook/handler/"

    @property
    def call(self) -> str:
        return f"{self.handlers}{self.handler}/call/"

    def path(self, short: str) -> str:
        """Return the full path: S stands for the service, H for the handler, both with a slash at the end."""
        if short.startswith("S"):
            return f"/api/v1/service/{self.service}/{short[1:]}"
        return f"{self.handlers}{self.handler}/{short[1:]}" if short.startswith("H") else short

    def send(self, method: str, path: str, body: bytes = b"", *headers: str) -> Answer:
        """Send a request with valid credentials."""
        return exchange(self.server, request(method, path, body, [CREDENTIALS, *headers]))
