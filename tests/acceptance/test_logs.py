"""The logs of a server: text or JSON, with the IDs of requests and actions, and the access log."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.raw_http import exchange, request
from tests.support.programs import finished
from tests.support.server import BIN, LiveServer
from tests.support.waiting import wait_until
from tutumd.web.access_log import CALL_ROUTE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    options = ("--engine", "local", "--log-format", "json", "--access-log")
    with LiveServer(tmp_path_factory.mktemp("json"), *options) as server:
        yield server


def lines(server: LiveServer, **fields: object) -> list[dict[str, Any]]:
    """Return the lines with these fields."""
    # What is behind the last line end is being written.
    parsed = [json.loads(line) for line in server.log.rpartition("\n")[0].splitlines()]
    return [line for line in parsed if fields.items() <= line.items()]


@pytest.mark.slow
def test_each_line_of_both_processes_is_json(server: LiveServer) -> None:
    wait_until(lambda: lines(server, event="server is ready", level="info"), "the server logs")
    wait_until(lambda: lines(server, event="engine is watched", engine="local"), "the worker logs")
    for line in lines(server):
        assert {"timestamp", "level", "event"} <= line.keys()


@pytest.mark.slow
def test_each_line_of_a_run_has_the_id_of_its_action(server: LiveServer) -> None:
    service = server.run_service("logged")
    answer = server.post(f"{server.make_handler(service)['url']}?wait=120")
    action = answer.headers["x-tutum-action-uri"].split("/")[-2]
    expected = {"action began", "action step", "action ended", "request"}
    wait_until(lambda: expected <= {line["event"] for line in lines(server, action=action)}, "all of it is logged")


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?wait=120"])
def test_a_request_keeps_the_id_that_was_sent_with_it(server: LiveServer, query: str) -> None:
    handler = server.make_handler(server.run_service(f"sent{len(query)}"))
    sent = f"from-the-proxy_1.{len(query)}"
    answer = server.post(f"{handler['url']}{query}", X_Request_Id=sent)
    assert answer.headers["x-request-id"] == sent
    (line,) = wait_until(lambda: lines(server, request_id=sent), "the request is logged")
    assert line["route"] == CALL_ROUTE
    assert (line["method"], line["client"]) == ("POST", "127.0.0.1")
    assert line["status"] == answer.status
    assert line["action"] == answer.headers["x-tutum-action-uri"].split("/")[-2]
    assert line["service"] == handler["url"].split("/service/")[1][:36]


@pytest.mark.slow
@pytest.mark.parametrize("sent", ["", "a b", "é", "x" * 129, "<script>", 'a"b'])
def test_a_request_without_a_usable_id_gets_one(server: LiveServer, sent: str) -> None:
    made = [
        exchange(server, request(*each, headers=[f"X-Request-Id: {sent}"])).headers["x-request-id"]
        for each in (("GET", "/healthz"), ("GET", "/nothing"), ("GET", "/api/v1/service/"), ("POST", "/api/v1/x/call/"))
    ]
    assert len(set(made)) == len(made)
    wait_until(lambda: all(len(lines(server, request_id=each)) == 1 for each in made), "each request is logged")
    assert sent not in made


def test_the_access_log_has_routes_and_no_paths(server: LiveServer) -> None:
    assert exchange(server, request("GET", "/api/v1/secret-of-a-path/?secret=of-a-query")).status == 404
    assert exchange(server, request("GET", "/api/v1/action/?limit=1")).status == 200
    wait_until(lambda: lines(server, event="request", route="/api/v1/action/", status=200), "the request is logged")
    assert "secret-of-a-path" not in server.log
    assert "of-a-query" not in server.log


def test_without_the_option_no_request_is_logged(live_server: LiveServer) -> None:
    assert live_server.request("GET", "/healthz").headers["x-request-id"]
    assert "request_id=" not in live_server.log


@pytest.mark.slow
def test_the_reason_of_a_failed_start_is_json_too(server: LiveServer) -> None:
    options = ("--engine", "local", "--log-format", "json", "--data-dir", str(server.data))
    ended = finished([str(BIN / "tutumd"), "serve", *options])
    assert ended.returncode == 1
    last = json.loads(ended.stderr.splitlines()[-1])
    assert (last["level"], "another tutumd works with the data folder" in last["event"]) == ("critical", True)
