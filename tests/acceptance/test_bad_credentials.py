"""Missing, malformed and wrong credentials are a 401 on every route that wants any, before all else is looked at."""

import pytest

from tests.acceptance.raw_http import UNKNOWN, Target, check_refusal, exchange, other_address, request
from tests.acceptance.routes import all_routes
from tests.support.server import APIKEY, USER

BAD_CREDENTIALS = {
    "none": None,
    "empty": "",
    "no scheme": f"{USER}:{APIKEY}",
    "scheme only": "ApiKey",
    "empty key": f"ApiKey {USER}:",
    "empty user": f"ApiKey :{APIKEY}",
    "no colon": f"ApiKey {USER}{APIKEY}",
    "wrong user": f"ApiKey other:{APIKEY}",
    "wrong key": f"ApiKey {USER}:wrong-key",
    "Bearer": f"Bearer {APIKEY}",
    "Basic, not base64": "Basic !!!",
    "Basic, not UTF-8": "Basic /////w==",
    "Basic, wrong key": "Basic dXNlcm5hbWU6d3Jvbmc=",
    "long": f"ApiKey {USER}:" + "x" * 10_000,
    "not ASCII": "ApiKey \xe4:\xff",
}


@pytest.mark.parametrize("credentials", BAD_CREDENTIALS.values(), ids=list(BAD_CREDENTIALS))
def test_bad_credentials_are_refused_on_every_route(target: Target, credentials: str | None) -> None:
    headers = [] if credentials is None else [f"Authorization: {credentials}"]
    values = {
        "service": target.service,
        "handler": target.handler,
        "container": UNKNOWN,
        "action": UNKNOWN,
        "target": UNKNOWN,
        "notification": UNKNOWN,
        "freeze": UNKNOWN,
        "group": UNKNOWN,
        "key_id": "0",
        "number": "1",
        "group_call": "1",
    }
    for route in all_routes(target.server):
        if route.is_public:
            continue
        raw = request(route.method, route.fill(values), b"{}", headers)
        answer = exchange(target.server, raw, other_address())
        check_refusal(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Basic")


def test_credentials_are_checked_before_the_object_and_the_body(target: Target) -> None:
    for method, path in (("GET", "/api/v1/service/x/"), ("POST", "/api/v1/service/"), ("PATCH", "/api/v1/service/x/")):
        check_refusal(exchange(target.server, request(method, path, b"not JSON", ())), 401)
