"""The OpenAPI document tells what each route really takes and returns."""

from typing import Any

import pytest

from tests.acceptance.accounts import Member, add_member
from tests.acceptance.raw_http import UNKNOWN, exchange, other_address, request
from tests.acceptance.routes import Route, all_routes
from tests.support.server import APIKEY, USER, Answer, LiveServer

Document = dict[str, Any]
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "boolean": (bool,), "array": (list,), "object": (dict,), "null": (type(None),)
}  # fmt: skip


@pytest.fixture(scope="module")
def document(live_server: LiveServer) -> Document:
    return dict(live_server.request("GET", "/api/openapi.json", authorization=None).json)


@pytest.fixture(scope="module")
def member(live_server: LiveServer) -> Member:
    return add_member(live_server, "reader-of-openapi")


def mismatch(document: Document, schema: Document, value: Any, place: str = "") -> str:
    """Return what of a value is not as a schema says; empty if all is."""
    if "$ref" in schema:
        return mismatch(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, place)
    if "anyOf" in schema:
        found = [mismatch(document, each, value, place) for each in schema["anyOf"]]
        return "" if "" in found else "; ".join(found)
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        return f"{place} is no {kind}: {value!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} is none of {schema['enum']}: {value!r}"
    if isinstance(value, list) and "items" in schema:
        return next(filter(None, (mismatch(document, schema["items"], each, f"{place}[]") for each in value)), "")
    if isinstance(value, dict) and "properties" in schema:
        missing = set(schema.get("required", ())) - value.keys()
        unknown = value.keys() - schema["properties"].keys()
        if missing or unknown:
            return f"{place} lacks {missing}, has {unknown}"
        parts = (
            mismatch(document, schema["properties"][name], each, f"{place}.{name}") for name, each in value.items()
        )
        return next(filter(None, parts), "")
    return ""


def check(document: Document, route: Route, answer: Answer) -> None:
    """Check that the document has this response of a route, with such a body."""
    responses = document["paths"][route.template][route.method.lower()]["responses"]
    assert str(answer.status) in responses, (route, answer)
    content = responses[str(answer.status)].get("content")
    if content and content["application/json"].get("schema"):
        wrong = mismatch(document, content["application/json"]["schema"], answer.json)
        assert not wrong, (route, answer.status, wrong)


def bodies(route: Route) -> list[bytes]:
    """Return bodies to send: none, right ones, wrong ones, and one that is too long."""
    too_long = b" " * (1024 * 1024 + 1)
    return [b"", b"{}", b'{"name": "documented"}', b'{"grace": 0}', b'{"filter": 5}', b"[", too_long]


@pytest.mark.slow
def test_every_answer_of_every_route_is_described(document: Document, live_server: LiveServer, member: Member) -> None:
    server = live_server
    running = server.run_service("described-and-running")
    spare = server.create_service("described")
    hook = server.make_handler(spare["uuid"], name="hook")
    assert server.post(hook["url"]).status == 202
    action = server.objects("/api/v1/action/")[-1]["uuid"]
    delivery = server.objects(f"{hook['resource_uri']}delivery/")[0]["id"]
    container = server.service(running)["containers"][0].split("/")[-2]
    values = {"service": spare["uuid"], "handler": hook["uuid"], "container": container, "action": action}
    values |= {"number": str(delivery), "amount": "1", "token": "x", "key_id": "0"}
    for route in sorted(all_routes(server), key=lambda each: (each.method == "DELETE", "handler" not in each.template)):
        path = route.fill(values)
        unknown = route.fill(dict.fromkeys(values, UNKNOWN) | {"number": "0", "amount": "0"})
        sent = bodies(route) if route.method in ("POST", "PATCH") else [b""]
        admin = f"Authorization: ApiKey {USER}:{APIKEY}"
        requests = [
            request(route.method, unknown, b"{}", [admin]),
            request(route.method, f"{unknown}?bad=1", b"", [admin]),
        ]
        requests += [
            request(route.method, path, b"{}", [credentials])
            for credentials in (
                "X: none",
                f"Authorization: ApiKey {member.name}:{member.key}",
                f"Authorization: ApiKey {USER}:wrong",
            )
        ]
        requests += [request(route.method, path, body, [admin]) for body in sent]
        for raw in requests:
            check(document, route, exchange(server, raw, other_address()))
