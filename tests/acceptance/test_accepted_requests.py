"""What a call takes though it looks odd: any body and type, slashes missing and doubled, a client that asks first."""

from tests.acceptance.raw_http import CREDENTIALS, Connection, chunked, exchange, holdings, request
from tests.support.server import LiveServer

MEBIBYTE = 1024 * 1024
BODIES = {
    "none": ((), b""),
    "JSON type, no body": (("Content-Type: application/json",), b""),
    "form": (("Content-Type: application/x-www-form-urlencoded",), b"payload=%7B%7D&x=%zz"),
    "broken form": (("Content-Type: multipart/form-data",), b"no boundary"),
    "broken JSON": (("Content-Type: application/json",), b"{"),
    "binary without a type": ((), bytes(range(256))),
    "wrong credentials": (("Authorization: ApiKey a:b",), b"{}"),
    "one mebibyte": ((), b"a" * MEBIBYTE),
    "unknown expectation": (("Expect: bananas",), b""),
}


def test_a_call_takes_any_body_type_and_slash(live_server: LiveServer) -> None:
    stopped = live_server.create_service("any-body")["resource_uri"]
    handlers = f"{stopped}webhook/handler/"
    call = live_server.request("POST", handlers, {}).json["url"]
    raws = [request("POST", call, body, headers) for headers, body in BODIES.values()]
    raws += [request("POST", path, headers=()) for path in (call[:-1], f"{call}/", call.replace("/", "//"))]
    raws += [request("POST", path, headers=()) for path in (f"{call}3", f"{call}3/", f"{call}%33/", f"{call}/3//")]
    raws += [request("POST", call.replace(call[-42:-6], call[-42:-6].upper()), headers=())]
    raws += [request("POST", call, chunked(b"a" * 1000), ("Transfer-Encoding: chunked",))]
    raws += [f"POST {call} HTTP/1.0\r\n\r\n".encode(), request("POST", f"http://dashboard.tutum.co{call}", headers=())]
    for raw in raws:
        answer = exchange(live_server, raw)
        assert answer.status == 202, (raw[:200], answer)
        assert answer.headers["x-tutum-action-uri"] == answer.json["action"]
    last = live_server.wait_for_action(answer.json["action"])
    actions = [each for each in holdings(live_server)["actions"] if each["object"] == last["object"]]
    assert sum(each["deliveries"] for each in actions) == len(raws)


def test_a_client_that_asks_first_may_send_its_body(live_server: LiveServer) -> None:
    service = live_server.create_service("asks-first")
    body = b'{"name": "asked first"}'
    with Connection(live_server) as connection:
        path = f"{service['resource_uri']}webhook/handler/"
        connection.send(request("POST", path, headers=(CREDENTIALS, "Expect: 100-continue"), length=len(body)))
        connection.wait_for_continue()
        connection.send(body)
        assert connection.answer().json["name"] == "asked first"
