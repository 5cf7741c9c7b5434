"""What cannot be called answers with one 404, whatever the cause, and nobody can tell the causes apart by the time."""

import http.client
import random
import statistics
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.server import LIMIT_S, LiveServer

SIGNED = {"verify": {"preset": "github", "secrets": ["s"]}, "filter": {"preset": "branch", "branch": "main"}}
ROUND = 150
ROUNDS = 8
SAME = 0.15
"""How far the times of two causes may be apart: what it takes to store a batch varies by more from call to call."""

Seen = tuple[int, bytes, tuple[tuple[str, str], ...]]


def closed_urls(server: LiveServer, service: str, other: str) -> dict[str, str]:
    """Make the URL of each kind of handler that cannot be called."""
    soon = datetime.now(UTC) + timedelta(seconds=10)
    closed: dict[str, dict[str, Any]] = {
        "expired": {"expires_datetime": soon.isoformat()},
        "disabled": {"enabled": False},
        "elsewhere": {"allow_from": ["192.0.2.0/24"]},
    }
    urls = {name: server.make_handler(service, **some)["url"] for name, some in closed.items()}
    urls |= {f"{name}, signed": server.make_handler(service, **some, **SIGNED)["url"] for name, some in closed.items()}
    used_up = server.make_handler(service, max_uses=1)
    revoked, rotated = server.make_handler(service), server.make_handler(service)
    assert server.post(used_up["url"]).status == 202
    assert server.request("DELETE", revoked["resource_uri"]).status == 204
    assert server.request("POST", f"{rotated['resource_uri']}rotate/", {"grace": 0}).status == 201
    time.sleep(max(0, (soon - datetime.now(UTC)).total_seconds()) + 0.1)
    return urls | {
        "used up": used_up["url"],
        "revoked": revoked["url"],
        "rotated": rotated["url"],
        "of another service": server.make_handler(service)["url"].replace(service, other),
    }


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, Seen]:
    began = time.perf_counter()
    connection.request("POST", path, b"{}", {"X-Hub-Signature-256": "sha256=00", "X-GitHub-Event": "push"})
    answer = connection.getresponse()
    body = answer.read()
    taken = time.perf_counter() - began
    headers = [each for each in answer.getheaders() if each[0] not in ("date", "x-request-id")]  # new in each response
    return taken, (answer.status, body, tuple(headers))


def quarter(times: list[float]) -> float:
    """The time that a quarter of the calls stay below: what else the machine does hardly moves it."""
    return statistics.quantiles(times, n=4)[0]


@pytest.mark.slow
def test_nobody_can_tell_why_a_handler_is_not_found(live_server: LiveServer) -> None:
    service, other = (live_server.run_service(f"timed-{uuid.uuid4()}") for _ in range(2))
    urls = closed_urls(live_server, service, other)
    for query in ("", "?wait=1"):
        paths = {name: url + query for name, url in urls.items()}
        paths["unknown"] = f"/api/v1/service/{service}/webhook/handler/{uuid.uuid4()}/call/{query}"
        times: dict[str, list[float]] = {name: [] for name in paths}
        seen: set[Seen] = set()
        apart: dict[str, float] = {}
        with closing(http.client.HTTPConnection("127.0.0.1", live_server.port, timeout=LIMIT_S)) as connection:
            for _ in range(ROUNDS):
                for name in random.sample(list(paths) * ROUND, len(paths) * ROUND):
                    taken, answer = ask(connection, paths[name])
                    times[name].append(taken)
                    seen.add(answer)
                unknown = quarter(times["unknown"])
                apart = {name: quarter(some) / unknown - 1 for name, some in times.items()}
                if all(abs(difference) < SAME for difference in apart.values()):
                    break
        assert len(seen) == 1
        assert next(iter(seen))[0] == 404
        assert all(abs(difference) < SAME for difference in apart.values()), apart
