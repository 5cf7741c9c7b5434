"""What browsers are told, and what other sites' pages cannot do through them."""

import base64
from pathlib import Path

import pytest

from tests.acceptance.raw_http import CREDENTIALS, Target, check_refusal, exchange, request
from tests.support.dashboard_bed import serve_edge
from tests.support.server import APIKEY, USER, LiveServer

BASIC = f"Authorization: Basic {base64.b64encode(f'{USER}:{APIKEY}'.encode()).decode()}"
FOREIGN = [
    ["Origin: https://evil.example"],
    ["Origin: null"],
    ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"],
    ["Origin: https://other.tutum.co", "Sec-Fetch-Site: same-site"],
    ["Sec-Fetch-Site: cross-site"],
]
OWN = [
    [],
    ["Origin: https://dashboard.tutum.co"],
    ["Origin: https://dashboard.tutum.co", "Sec-Fetch-Site: same-origin"],
    ["Origin: https://renamed.by.a.proxy", "Sec-Fetch-Site: same-origin"],
    ["Origin: https://hooks.example.com", "X-Forwarded-Host: hooks.example.com"],
]


def test_a_page_of_another_site_changes_nothing(target: Target) -> None:
    for headers in FOREIGN:
        for method, path in (
            ("POST", f"/api/v1/service/{target.service}/redeploy/"),
            ("DELETE", f"{target.handlers}x/"),
        ):
            answer = exchange(
                target.server, request(method, path, b"{}", [BASIC, "Content-Type: text/plain", *headers])
            )
            assert "another site" in check_refusal(answer, 403)
        assert exchange(target.server, request("GET", target.handlers, headers=[BASIC, *headers])).status == 200
        raw = request("POST", f"{target.handlers}{target.handler}/test/", b"{}", [CREDENTIALS, *headers])
        assert exchange(target.server, raw).status == 200, "browsers send ApiKey only if a page of ours says so"


@pytest.mark.slow
def test_pages_of_the_server_and_clients_of_2015_work(target: Target) -> None:
    for headers in OWN:
        raw = request("POST", f"{target.handlers}{target.handler}/test/", b"{}", [BASIC, *headers])
        assert exchange(target.server, raw).status == 200, headers


def test_the_public_url_is_an_origin_of_the_server(tmp_path: Path) -> None:
    with serve_edge(f"sqlite:///{tmp_path / 'test.db'}", public_url="https://hooks.example.com") as server:
        for origin, status in (("https://hooks.example.com", 404), ("https://evil.example", 403)):
            raw = request("POST", "/api/v1/service/x/start/", headers=[BASIC, f"Origin: {origin}"])
            assert exchange(server, raw).status == status


def test_a_key_is_not_kept_by_caches(target: Target) -> None:
    assert target.send("GET", "/api/v1/auth/").headers["cache-control"] == "no-store"


def test_the_docs_cannot_be_framed_or_run_foreign_scripts(live_server: LiveServer) -> None:
    for path in ("/api/docs", "/api/docs/swagger-ui-bundle.js", "/api/docs/swagger-ui.css"):
        headers = live_server.request("GET", path, authorization=None).headers
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    policy = live_server.request("GET", "/api/docs", authorization=None).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]


@pytest.mark.parametrize(("field", "depth"), [("filter", 101), ("name", 987), ("verify", 5000), ("unknown", 100_000)])
def test_deep_json_is_refused(target: Target, field: str, depth: int) -> None:
    body = f'{{"{field}": {"[" * depth}{"]" * depth}}}'.encode()
    for method, path in (
        ("POST", target.handlers),
        ("PATCH", f"{target.handlers}{target.handler}/"),
        ("POST", f"{target.handlers}{target.handler}/test/"),
        ("POST", f"{target.handlers}{target.handler}/rotate/"),
        ("POST", "/api/v1/service/"),
        ("PATCH", f"/api/v1/service/{target.service}/"),
    ):
        check_refusal(target.send(method, path, body), 400)
    assert target.send("POST", f"{target.handlers}{target.handler}/test/", b'{"body": [[[[]]]]}').status == 200
