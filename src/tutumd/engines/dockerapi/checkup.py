"""Checks of a Docker Engine that change nothing: whether it responds, lets requests through, and has the right time."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import docker.errors

from tutumd.engines.dockerapi.connection import Client
from tutumd.engines.dockerapi.documents import parse_time
from tutumd.engines.dockerapi.failures import explanation, translated
from tutumd.errors import EngineRefusedError
from tutumd.model.figures import Finding, Level, compare_clocks, ok, wrong

_LIMIT_S = 4
# Responses of an authorization plugin, or a proxy before the socket, to a request that it blocks. The engine itself
# responds 404 or 400 to each of these requests, because they name an object that does not exist.
_REFUSED = (401, 403, 405)
_ABSENT = "{absent}"
_ALLOW = (
    "allow it in the proxy or plugin before the socket; haproxy.cfg in deploy/compose or deploy/swarm has all rules"
)


@dataclass(frozen=True, slots=True)
class Needed:
    """A request that an engine must let through.

    Attributes:
        path: Below the version; `{absent}` stands for the name of an object that does not exist.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def words(self) -> str:
        return f"{self.method} {self.path.replace(_ABSENT, 'NAME')}"


def check_engine(
    subject: str,
    client: Client,
    needed: Mapping[str, Sequence[Needed]],
    judge: Callable[[dict[str, Any]], Finding] | None = None,
) -> tuple[Finding, ...]:
    """Return the findings about an engine behind a Docker socket.

    Args:
        needed: Requests that the engine must let through, by the feature that needs them. They are also the findings if
            the engine refuses to describe itself.
        judge: Judges the engine's description of itself.

    Raises:
        EngineUnavailableError: The engine does not respond.
    """
    findings: list[Finding] = []
    try:
        client.probe()
        with translated("ask the engine for its version"):
            version = client.version()
        engine = "Podman" if client.is_podman else "Docker"
        findings.append(ok(subject, f"answers: {engine} {version.get('Version')}, API {version.get('ApiVersion')}"))
        with suppress(EngineRefusedError):
            findings += _check_state(subject, client, judge)
        if findings[-1].level is not Level.WRONG:
            findings += _check_requests(subject, client, needed)
    except EngineRefusedError as error:
        findings.append(wrong(subject, f"{client.address} cannot be used: {error}", _ALLOW))
    return tuple(findings)


def _check_state(subject: str, client: Any, judge: Callable[[dict[str, Any]], Finding] | None) -> Iterator[Finding]:
    before = time.time()
    with translated("ask the engine for its state"):
        info: dict[str, Any] = client.info()
    there = parse_time(str(info.get("SystemTime") or ""))
    if there is not None:
        yield from compare_clocks(subject, there.timestamp(), before, time.time())
    if judge is not None:
        yield judge(info)


def _check_requests(subject: str, client: Client, needed: Mapping[str, Sequence[Needed]]) -> list[Finding]:
    """Send each request about an object that does not exist; return the requests that are refused before the engine."""
    absent = f"tutumd-doctor-{secrets.token_hex(4)}"
    refused = [
        wrong(subject, f"{request.words} is refused ({said}): {feature}", _ALLOW)
        for feature, requests in needed.items()
        for request in requests
        if (said := _refusal(client, request, absent)) is not None
    ]
    total = sum(map(len, needed.values()))
    return refused or [ok(subject, f"lets through each of the {total} requests that tutumd sends")]


def _refusal(client: Client, request: Needed, absent: str) -> str | None:
    """Return what refused a request; None if nothing did."""
    sdk: Any = client
    url = sdk._url(request.path.replace(_ABSENT, absent), versioned_api=True)
    with translated(f"send {request.words}"):
        response = client.request(request.method, url, params=request.query, json=request.body, timeout=_LIMIT_S)
        if response.status_code not in _REFUSED:
            return None
        try:
            sdk._raise_for_status(response)
        except docker.errors.APIError as error:
            return f"{response.status_code}: {' '.join(explanation(error).split())[:200]}"
    return str(response.status_code)
