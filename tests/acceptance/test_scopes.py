"""Each scope on each route, as the table in docs/reference/scopes.md says."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.accounts import Member, add_limited_key
from tests.acceptance.raw_http import UNKNOWN, check_refusal, holdings
from tests.acceptance.routes import Route, all_routes
from tests.support.server import LiveServer
from tutumd.model import Scope

PAGE = Path(__file__).parents[2] / "docs/reference/scopes.md"
ADMIN = "username"
"""The first admin of the server."""
_NAMES = ("service", "handler", "container", "action", "key_id", "target", "notification", "freeze", "group")
NOTHING = dict.fromkeys(_NAMES, UNKNOWN) | dict.fromkeys(("number", "group_call"), "999999999")
_ROW = re.compile(r"\| `([A-Z]+) (/\S+)` \| `(\w+)` \|")


def documented_scopes() -> dict[tuple[str, str], Scope]:
    """Return the scopes that the page says, by method and path."""
    return {(row[1], row[2]): Scope(row[3]) for row in _ROW.finditer(PAGE.read_text())}


@pytest.fixture(scope="module")
def keys(live_server: LiveServer) -> Mapping[Scope, Member]:
    """A key of the admin with each scope."""
    return {scope: add_limited_key(live_server, ADMIN, scope=scope) for scope in Scope}


def test_the_page_has_the_scope_of_every_route(live_server: LiveServer) -> None:
    served = {(route.method, route.template) for route in all_routes(live_server) if not route.is_public}
    assert {(method, path.partition("?")[0]) for method, path in documented_scopes()} == served


@pytest.mark.parametrize("scope", Scope)
def test_a_route_refuses_a_key_without_its_scope_and_no_other(
    live_server: LiveServer, keys: Mapping[Scope, Member], scope: Scope
) -> None:
    before = holdings(live_server)
    for (method, path), needed in documented_scopes().items():
        template, _, query = path.partition("?")
        target = Route(method=method, template=template).fill(NOTHING) + (f"?{query}" if query else "")
        answer = keys[scope].send(method, target, None if method == "GET" else {})
        if scope.includes(needed):
            assert answer.status in (200, 400, 404), (method, path, answer)
        else:
            check_refusal(answer, 403)
            assert f"the scope '{scope}', and this needs '{needed}'" in answer.json["error"]
            assert f"tutumd apikey add {ADMIN} --scope {needed}" in answer.json["error"]
    assert holdings(live_server) == before


@pytest.mark.slow
def test_each_scope_does_what_it_is_for(live_server: LiveServer, keys: Mapping[Scope, Member]) -> None:
    service = live_server.run_service("scoped")
    path = f"/api/v1/service/{service}/"
    read, call, operate, admin = (keys[scope] for scope in Scope)
    assert read.send("GET", path).json["name"] == "scoped"
    assert read.send("POST", f"{path}redeploy/?dry_run=1").json["possible"] is True
    made = operate.send("POST", f"{path}webhook/handler/", {"name": "hook"})
    assert made.status == 201
    assert made.json["uuid"] not in str(read.send("GET", path).json)
    assert call.send("GET", made.json["resource_uri"]).json["url"] == made.json["url"]
    for key, verb in ((call, "redeploy"), (operate, "stop")):
        started = key.send("POST", f"{path}{verb}/")
        assert started.status == 202
        live_server.wait_for_action(started.headers["x-tutum-action-uri"])
    check_refusal(operate.send("PATCH", path, {"run_command": "id"}), 403)
    assert admin.send("PATCH", path, {"run_command": "exec sleep 700"}).status == 200
    ended = admin.send("DELETE", path)
    assert ended.status == 202


def test_a_narrow_key_of_an_admin_defines_no_commands(live_server: LiveServer) -> None:
    service = live_server.run_service("narrowed")
    narrow = add_limited_key(live_server, ADMIN, service_uuid=service)
    path = f"/api/v1/service/{service}/"
    for method, target, body in (
        ("POST", "/api/v1/service/", {"name": "more", "run_command": "id"}),
        ("PATCH", path, {"run_command": "id"}),
    ):
        answer = narrow.send(method, target, body)
        check_refusal(answer, 403)
        assert f"this key is for the service {service} only" in answer.json["error"]
    assert [each["uuid"] for each in narrow.send("GET", "/api/v1/service/").json["objects"]] == [service]
    assert narrow.send("PATCH", path, {"target_num_containers": 2}).status == 200
    assert narrow.send("DELETE", path).status == 202
