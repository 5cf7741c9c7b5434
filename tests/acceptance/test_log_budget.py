"""One URL fills no disk: a handler's deliveries have a budget, whatever its senders do."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.support.server import LiveServer
from tests.support.waiting import wait_until

LOG_BYTES = 1024 * 1024
CALLS = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    options = ("--engine", "local", "--log-rows", "50", "--log-bytes", str(LOG_BYTES))
    with LiveServer(tmp_path_factory.mktemp("log-budget"), *options) as started:
        yield started


def database_bytes(server: LiveServer) -> int:
    with closing(sqlite3.connect(server.data / "tutumd.db", timeout=240)) as database:
        return int(database.execute("PRAGMA page_count").fetchone()[0]) * 4096


def deliveries(server: LiveServer, handler: dict[str, Any]) -> Any:
    return server.request("GET", f"{handler['resource_uri']}delivery/?limit=100").json


@pytest.mark.slow
def test_eight_senders_of_large_calls_fill_no_more_than_the_budget(server: LiveServer) -> None:
    service = server.run_service("flooded")
    flooded, other = server.make_handler(service), server.make_handler(service)
    assert server.post(other["url"], b"kept").status == 202
    before = database_bytes(server)
    with ThreadPoolExecutor(8) as pool:
        body, header = b"b" * 16 * 1024, "h" * 7 * 1024
        sent = [pool.submit(server.post, flooded["url"], body, X_Long=header) for _ in range(CALLS)]
        assert {answer.result().status for answer in sent} == {202}
    assert database_bytes(server) - before < 2 * LOG_BYTES < CALLS * (16 + 7) * 1024 / 4
    newest = [server.request("GET", each["resource_uri"]).json for each in deliveries(server, flooded)["objects"][:20]]
    cut = next(each for each in newest if each["body_is_cut"])  # the budget refills, for one call in 5 s
    assert (cut["body"], cut["headers"]) == ("", [])
    assert cut["left_out"] == ["headers, query and body: the handler got too much in a minute"]
    assert server.request("POST", f"{cut['resource_uri']}redeliver/").status == 409
    wait_until(lambda: deliveries(server, flooded)["meta"]["total_count"] <= 50, "the log is trimmed", timeout_s=240)
    (kept,) = deliveries(server, other)["objects"]
    assert server.request("GET", kept["resource_uri"]).json["body"] == "kept"
    wait_until(lambda: server.request("GET", flooded["resource_uri"]).json["calls"] == CALLS, "all calls are counted")
