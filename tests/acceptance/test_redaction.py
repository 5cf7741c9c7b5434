"""What is kept of calls: no secret that the server can know as one; and what is missing is told."""

import sqlite3
import uuid
from contextlib import closing
from typing import Any

import pytest

from tests.support.server import LiveServer

SECRET = "s3cr3t-0f-a-sender"


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"kept-{uuid.uuid4()}")


def newest(server: LiveServer, handler: dict[str, Any]) -> dict[str, Any]:
    listed = server.request("GET", f"{handler['resource_uri']}delivery/").json["objects"]
    return dict(server.request("GET", listed[0]["resource_uri"]).json)


@pytest.mark.slow
@pytest.mark.parametrize("header", ["X-My-Hook", "User-Agent", "Idempotency-Key"])
def test_no_secret_of_a_handler_is_kept(live_server: LiveServer, service: str, header: str) -> None:
    handler = live_server.make_handler(service, verify={"preset": "token", "header": header, "secrets": [SECRET]})
    for value, status, left_out in (
        (SECRET, 202, {"header x-copy", "secrets in the body"}),
        (f"x{SECRET}", 401, {"headers, query and body: the call was refused"}),
    ):
        told = {"X_Copy": f"a {SECRET}", "Authorization": f"Bearer {value}", header.replace("-", "_"): value}
        url = f"{handler['url']}?t={SECRET}&token={SECRET}"
        assert live_server.post(url, f'{{"secret": "{SECRET}"}}'.encode(), **told).status == status
        assert left_out <= set(newest(live_server, handler)["left_out"])
    with closing(sqlite3.connect(live_server.data / "tutumd.db", timeout=240)) as database:
        assert not [line for line in database.iterdump() if SECRET in line]
    assert SECRET not in live_server.log


def test_a_redelivery_tells_what_it_goes_without(live_server: LiveServer, service: str) -> None:
    for fields in ({}, {"debounce": 0, "show_log": True}):
        handler = live_server.make_handler(service, **fields)
        assert live_server.post(f"{handler['url']}?token=abc&ref=x", X_Long="x" * 9000).status == 202
        kept = newest(live_server, handler)
        assert kept["left_out"] == ["query parameter token", "headers beyond 8 KiB"]
        assert kept["query"] == "ref=x"
        again = live_server.request("POST", f"{kept['resource_uri']}redeliver/")
        assert again.status == 202
        assert again.json["notes"] == [
            "this was not stored with the delivery and is missing: query parameter token, headers beyond 8 KiB"
        ]
    filtered = live_server.make_handler(service, filter="query.token == 'abc'")
    assert live_server.post(f"{filtered['url']}?token=abc").status == 202
    again = live_server.request("POST", f"{newest(live_server, filtered)['resource_uri']}redeliver/")
    assert (again.status, again.json["state"]) == (200, "Skipped")
    assert "query parameter token" in again.json["reason"]


def test_who_waits_is_told_too_that_the_body_was_not_passed(live_server: LiveServer, service: str) -> None:
    handler = live_server.make_handler(service, pass_body=True)
    answer = live_server.post(f"{handler['url']}?wait=120", b"\xff")
    assert (answer.status, answer.json["state"]) == (200, "Success")
    assert answer.json["notes"] == ["the body was not passed on: it is not UTF-8"]


@pytest.mark.parametrize("query", ["", "?ref=x"])
def test_a_url_in_the_user_agent_is_not_kept(live_server: LiveServer, service: str, query: str) -> None:
    handler = live_server.make_handler(service)
    assert live_server.post(handler["url"] + query, User_Agent=f"hook (to {handler['url']})").status == 202
    kept = newest(live_server, handler)
    assert handler["uuid"] not in kept["user_agent"] and kept["user_agent"].startswith("hook (to ")
