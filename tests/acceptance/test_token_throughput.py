"""A handler that checks identity tokens takes at least 0.3 of the calls per second of processor time of a bare one."""

import http.client
import json
import sqlite3
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from tests.support.identity_tokens import claims_of, public_jwk, sign
from tests.support.server import LIMIT_S, LiveServer, free_port

ROUNDS, CALLS, CLIENTS = 5, 1_000, 16
LEAST = 0.3


def store_keys(server: LiveServer, issuer: str) -> None:
    """Store the key of the tests as that of an issuer, as a notifier does."""
    keys, now = json.dumps({"keys": [public_jwk()]}), int(time.time() * 1e6)
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=LIMIT_S)) as connection, connection:
        changed = connection.execute(
            "UPDATE issuers SET keys = ?, fetched = ?, tried = ? WHERE url = ?", (keys, now, now, issuer)
        )
        assert changed.rowcount == 1


def call_all(server: LiveServer, path: str, headers: Sequence[dict[str, str]]) -> tuple[float, float]:
    """Call with each of the headers; return the calls per second of time, and of the edge's processor time."""

    def call_some(share: Sequence[dict[str, str]]) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)) as connection:
            for each in share:
                connection.request("POST", path, b"{}", each)
                response = connection.getresponse()
                assert response.read()
                assert response.status == 202

    edge = psutil.Process(server.pid)
    began, used = time.perf_counter(), sum(edge.cpu_times()[:2])
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(call_some, [headers[first::CLIENTS] for first in range(CLIENTS)]))
    return len(headers) / (time.perf_counter() - began), len(headers) / (sum(edge.cpu_times()[:2]) - used)


@pytest.mark.nightly
def test_calls_with_tokens_are_at_least_0_3_as_many_as_bare_calls(tmp_path: Path) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    with LiveServer(tmp_path, "--engine", "local", "--oidc-issuer", f"github={issuer}") as server:
        service = server.run_service("called")
        verify = {"preset": "oidc", "issuer": issuer, "audience": "bench", "claims": {"repository": "me/shop"}}
        paths = {
            each["verify"] is not None: str(each["url"])
            for each in (
                server.make_handler(service, name="bare"),
                server.make_handler(service, name="token", verify=verify),
            )
        }
        store_keys(server, issuer)
        found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for number in range(ROUNDS):
            for has_token, path in paths.items():
                now = datetime.now(UTC)
                tokens = [
                    sign(claims_of(now, iss=issuer, aud="bench", jti=f"{number}-{index}")) if has_token else "none"
                    for index in range(CALLS)
                ]
                found[has_token].append(
                    call_all(server, path, [{"Authorization": f"Bearer {each}"} for each in tokens])
                )
    bare, checked = ([statistics.median(values) for values in zip(*found[key], strict=True)] for key in (False, True))
    print(f"{checked[0]:.0f} of {bare[0]:.0f} calls/s; by processor time {checked[1]:.0f} of {bare[1]:.0f}")
    # Calls per second of time measure the machine's other work as well.
    assert checked[1] >= LEAST * bare[1]
