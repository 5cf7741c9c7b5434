"""Bad amounts, unknown handlers, methods that a route has not, paths with nothing: clear answers, nothing changed."""

from urllib.parse import quote

import pytest

from tests.acceptance.raw_http import UNKNOWN, Target, check_refusal, exchange, request
from tests.acceptance.routes import all_routes

BAD_AMOUNTS = [
    *("0", "-1", "1.5", "+2", "%2B2", "99999999999", "101", "01", "1e1", "0x1", "1_0", "%201", "1%0A"),
    *("%00", "1%00", "%FF", "%zz", "..", "many", "None"),
    *(quote(digit) for digit in "٣３³"),
    *("9" * length for length in (30, 16_000)),
]


@pytest.mark.parametrize("operation", ["handler", "scaling"])
def test_a_bad_amount_is_refused(target: Target, operation: str) -> None:
    for amount in BAD_AMOUNTS:
        for slash in ("/", ""):
            path = f"{target.handlers}{getattr(target, operation)}/call/{amount}{slash}"
            text = check_refusal(exchange(target.server, request("POST", path, headers=())), 400, 414)
            assert "1 to 100" in text or "16384 bytes" in text


def test_more_after_the_amount_is_no_call(target: Target) -> None:
    for rest in ("1/2/", "1/x/", "/call/", "call/"):
        check_refusal(exchange(target.server, request("POST", f"{target.call}{rest}", headers=())), 400, 404)


def test_wrong_and_unknown_handlers_read_the_same(target: Target) -> None:
    server = target.server
    revoked = server.add_handler(target.service, "revoked")
    assert server.request("DELETE", f"{target.handlers}{revoked}/").status == 204
    assert revoked.encode() not in server.request("GET", f"{target.handlers}?limit=100").body
    not_a_uuid = ["x", "%00", "%2e%2e", target.handler[:8], f"{{{target.handler}}}", UNKNOWN.replace("-4", "-1")]
    paths = [
        f"{target.handlers}{revoked}/",
        f"{target.handlers}{UNKNOWN}/",
        f"/api/v1/service/{target.other_service}/webhook/handler/{target.handler}/",
        f"/api/v1/service/{UNKNOWN}/webhook/handler/{target.handler}/",
        f"/api/v1/service/x/webhook/handler/{target.handler}/",
        *(f"{target.handlers}{each}/" for each in not_a_uuid),
    ]
    for method, end in (("POST", "call/"), ("POST", "call/2/"), ("GET", ""), ("DELETE", "")):
        # Other routes accept a service's name, too, and say which name is unknown.
        asked = [path + end for path in paths if "call" in end or "/service/x/" not in path]
        answers = {(answer.status, answer.body) for answer in (target.send(method, path) for path in asked)}
        assert len(answers) == 1, answers
        assert answers.pop()[0] == 404


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]


def test_a_method_that_a_route_has_not_is_refused(target: Target) -> None:
    methods = {"/api/openapi.json": {"GET", "HEAD"}, "/api/docs": {"GET"}}
    names = {
        "service": target.service,
        "handler": target.handler,
        "number": "1",
        "group_call": "1",
        "amount": "2",
        "token": "x",
    }
    names |= dict.fromkeys(("container", "action", "key_id", "target", "notification", "freeze", "group"), UNKNOWN)
    for route in all_routes(target.server):
        if route.template.endswith(("/handler/plan/", "/target/plan/", "/group/plan/")):
            continue  # other methods take `plan` for a UUID
        methods.setdefault(route.fill(names), set()).add(route.method)
    for path, known in methods.items():
        for method in set(METHODS) - known:
            answer = target.send(method, path, b"{}")
            assert answer.status == 405, (method, path, answer)
            assert set(answer.headers["allow"].split(", ")) == known
            if method == "HEAD":
                assert answer.body == b""
            else:
                check_refusal(answer, 405)


NOWHERE = [
    "/api",
    "/api/v1",
    "/api/v2/service/",
    "/API/V1/service/",
    "/favicon.ico",
    "/api/docs/x",
    "/%00",
    "/../",
]


def test_a_path_with_nothing_is_not_found(target: Target) -> None:
    for path in NOWHERE:
        for method in ("GET", "POST", "DELETE"):
            check_refusal(target.send(method, path), 404, 405)
