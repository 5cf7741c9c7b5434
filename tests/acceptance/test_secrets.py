"""A handler's UUID, an API key and a password in a header are in no log line, at any level; keys are in no file."""

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.accounts import add_member
from tests.acceptance.raw_http import chunked, exchange, holdings, request
from tests.support.server import APIKEY, USER, LiveServer
from tutumd.web.access_log import CALL_ROUTE

SECRET = "s3cr3t-0f-a-sender"
WRONG_KEY = "hunter2-is-my-wrong-key"
ADMIN = f"Authorization: ApiKey {USER}:{APIKEY}"
LOUD = ("--log-level", "debug", "--access-log")


@pytest.fixture(scope="module", params=[pytest.param("text", marks=pytest.mark.nightly), "json"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server that logs all it can, and shows all that it counts."""
    options = ("--engine", "local", *LOUD, "--log-format", request.param, "--metrics-allow-from", "127.0.0.1")
    with LiveServer(tmp_path_factory.mktemp("loud"), *options) as loud:
        yield loud


@pytest.mark.slow
def test_no_secret_is_in_a_log_line_or_a_file(server: LiveServer) -> None:
    member = add_member(server, "member")
    service = server.run_service("secret")
    handlers = [server.add_handler(service, "hook"), server.add_handler(service, "more", "SCALEUP")]
    _send_everything(server, service, handlers)
    _provoke_internal_errors(server, service, handlers)
    server.terminate_services()
    done = {each["operation"] for each in holdings(server)["actions"]}
    assert done >= {"START", "REDEPLOY", "SCALEUP", "TERMINATE"}
    log, metrics = server.log, exchange(server, request("GET", "/metrics")).body.decode()
    assert "tutumd_calls_total" in metrics
    assert CALL_ROUTE in log
    assert "Traceback" in log, "no internal error was provoked"
    assert not [line for line in log.splitlines() if "a request failed" in line and "request_id" not in line]
    assert "action ended" in log
    basic = base64.b64encode(f"{USER}:{APIKEY}".encode()).decode()
    for secret in (*handlers, member.key, WRONG_KEY, f"{USER}:{APIKEY}", basic, "payload-of-a-call"):
        lines = [line for line in log.splitlines() if secret.lower() in line.lower()]
        assert not lines, lines[:5]
        assert secret.lower() not in metrics.lower()
    for path in server.data.rglob("*"):
        if path.is_file():
            for key in (member.key, WRONG_KEY, basic):
                assert key.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_no_secret_of_what_is_set_on_a_handler_is_in_a_log_line_or_a_file(server: LiveServer) -> None:
    service = server.run_service("trusted")
    verify = {"preset": "token", "header": "X-Hook", "secrets": [SECRET]}
    handler = server.make_handler(service, verify=verify, show_log=True)
    known = [handler["uuid"], *_call_it(server, handler)]
    # Also what fails: a secret where none belongs, one that no preset takes, a ticket that was tampered with.
    for wrong in (
        {"verify": SECRET},
        {"verify": {"preset": SECRET}},
        {"verify": {"preset": "github", "secrets": SECRET, SECRET: 1}},
        {"verify": {"preset": "standard-webhooks", "secrets": [f"whsec_{SECRET}"]}},
        {"filter": f"nothing({SECRET}"},
    ):
        assert server.request("PATCH", handler["resource_uri"], wrong).status == 400, wrong
    rotated = server.request("POST", f"{handler['resource_uri']}rotate/").json
    known += [rotated["uuid"], *_call_it(server, {**rotated, "old": handler["url"]})]
    assert server.request("POST", f"{rotated['resource_uri']}test/", {"headers": {"X-Hook": SECRET}}).status == 200
    received = server.request("GET", f"{rotated['resource_uri']}delivery/").json["objects"]
    # A refused one is kept without content.
    again = {one["outcome"]: server.request("POST", f"{one['resource_uri']}redeliver/").status for one in received}
    assert (again["refused"], again["queued"]) == (409, 202)
    _change(
        server.data / "tutumd.db", "UPDATE handlers SET options = '{\"filter\": 1}', version = 99 WHERE name = 'hook'"
    )
    assert server.post(rotated["url"], X_Hook=SECRET).status in (400, 500, 503)
    assert server.request("DELETE", rotated["resource_uri"]).status == 204
    server.terminate_services()
    for secret in (SECRET, *known):
        lines = [line for line in server.log.splitlines() if secret.lower() in line.lower()]
        assert not lines, lines[:5]
    for path in server.data.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def _call_it(server: LiveServer, handler: dict[str, Any]) -> list[str]:
    """Call a handler in each way; answers the secrets of the status URLs."""
    status_tokens = []
    for url in {handler["url"], handler.get("old", handler["url"])}:
        for query in ("", "?wait=120", f"?t={SECRET}&token={SECRET}"):
            answer = server.post(url + query, f'{{"s": "{SECRET}"}}'.encode(), X_Hook=SECRET, X_Other=SECRET)
            assert answer.status in (200, 202), answer
            status_url = answer.json["status_url"]
            status_tokens.append(status_url.split("/")[-2])
            for path in (status_url, f"{status_url}?wait=1", f"{status_url}?wait=x", status_url.replace("/", "//")):
                server.request("GET", path, authorization=None)
                server.request("POST", path, authorization=None)
        for wrong in (f"{SECRET}x", f"Bearer {SECRET}"):
            assert server.post(f"{url}?wait=1&{SECRET}", X_Hook=wrong).status == 401
        assert server.post(f"{url}?wait={SECRET}&tag={SECRET}", X_Hook=SECRET).status == 400
    return status_tokens


def _send_everything(server: LiveServer, service: str, handlers: list[str]) -> None:
    base = f"/api/v1/service/{service}/"
    for handler in handlers:
        own = f"{base}webhook/handler/{handler}/"
        for end in ("", "call/", "call/2/", "call/0/", "call/x/", "nothing/", "call/1/2/"):
            for method in ("GET", "POST", "PUT", "HEAD", "PROPFIND"):
                exchange(server, request(method, f"{own}{end}", b"payload-of-a-call", [ADMIN]))
                exchange(server, request(method, f"{own}{end}?key={WRONG_KEY}", headers=()))
            exchange(server, request("POST", f"{own}{end}", headers=[f"Authorization: ApiKey {USER}:{WRONG_KEY}"]))
        for name in ("X-Request-Id", "X-Forwarded-For", "User-Agent", "Referer", "Host"):
            for value in (handler, f"a-{handler}", f"https://a{own}call/"):
                exchange(server, request("POST", f"{own}call/", headers=[f"{name}: {value}"]))
                exchange(server, request("GET", own, headers=[ADMIN, f"{name}: {value}"]))
        for odd in (
            f"/api/v1/service/{handler}/webhook/handler/{service}/call/",
            f"/api/v1/service/{handler}/",
            f"/api/v1/action/{handler}/",
            f"/api/v1/status/{handler}/",
            own.upper(),
            own.replace("/", "//"),
            own.replace("-", "%2D"),
            f"/{handler}",
            f"/?{handler}",
            f"{own} ",
        ):
            exchange(server, request("POST", odd, headers=[ADMIN]))
        exchange(server, request("POST", f"{own}call/{'9' * 70_000}/", headers=[ADMIN]))
        exchange(server, request("POST", f"{own}call/", headers=[f"Authorization: Basic {WRONG_KEY}", "Bad Name: x"]))
        exchange(server, request("POST", f"{own}call/", b"zz", ["Transfer-Encoding: chunked"]) + b"zz\r\n")
        exchange(server, request("POST", f"{own}call/", chunked(b"a" * 2_000_000), ["Transfer-Encoding: chunked"]))
        exchange(server, request("GET", f"{own}call/", headers=["Connection: Upgrade", "Upgrade: websocket"]))
        exchange(server, request("GET", f"{base}webhook/handler/?uuid={handler}", headers=[ADMIN]))
        exchange(
            server, request("GET", f"/api/v1/service/?uuid__startswith={handler}&bad={WRONG_KEY}", headers=[ADMIN])
        )
        exchange(server, request("GET", f"/api/v1/action/?start_date__gte={handler}", headers=[ADMIN]))
    for method, path in (
        ("GET", f"{base}logs/"),
        ("POST", f"{base}redeploy/"),
        ("PATCH", base),
        ("GET", "/api/v1/auth/"),
    ):
        exchange(server, request(method, path, b"{}", [ADMIN]))


def _provoke_internal_errors(server: LiveServer, service: str, handlers: list[str]) -> None:
    """Break rows behind the server's back, so that reading them is a fault that no code foresees."""
    base = f"/api/v1/service/{service}/"
    database = server.data / "tutumd.db"
    _change(database, "UPDATE handlers SET operation = 'none'")
    for handler in handlers:
        own = f"{base}webhook/handler/{handler}/"
        for method, path in (
            ("GET", own),
            ("POST", f"{own}call/"),
            ("POST", f"{own}call/2/"),
            ("GET", f"{base}webhook/handler/"),
        ):
            answer = exchange(server, request(method, path, headers=[ADMIN]))
            assert answer.status == 500, (method, answer)
            assert answer.json == {"error": "internal error: see the server's log"}
    _change(database, "UPDATE handlers SET operation = 'REDEPLOY'")
    _change(database, "ALTER TABLE deliveries RENAME TO away")
    answer = exchange(server, request("POST", f"{base}webhook/handler/{handlers[0]}/call/"))
    assert answer.status in (500, 503)
    assert answer.json["error"]
    _change(database, "ALTER TABLE away RENAME TO deliveries")
    assert exchange(server, request("POST", f"{base}webhook/handler/{handlers[0]}/call/")).status == 202


def _change(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, timeout=240)) as connection, connection:
        connection.execute(statement)
