"""The wire contract, as raw HTTP has it: lists and their pages, forms of objects, statuses, credentials."""

import base64
import re
from typing import Any

import pytest

from tests.acceptance.raw_http import CREDENTIALS, UNKNOWN, check_refusal, exchange, request
from tests.support.server import APIKEY, USER, LiveServer

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} \+0000")
BREAKS_CLIENTS = {"logs", "pk", "is_dirty", "start", "stop", "redeploy", "scale", "save", "delete", "refresh"}


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    """A running service of three processes."""
    return live_server.run_service("contract", containers=3)


@pytest.fixture(scope="session")
def handlers(live_server: LiveServer, service: str) -> str:
    """The path of the handlers of a service that has seven, and that nothing calls."""
    path = f"/api/v1/service/{service}/webhook/handler/"
    made = live_server.request("POST", path, [{"name": name} for name in ("a", "b", "a", None, "", "ä/?&=+%", "a")])
    assert made.status == 201
    return path


def _follow(server: LiveServer, link: str) -> list[dict[str, Any]]:
    """Follow `next` as the Go client does, which takes it as a path."""
    pages = []
    while link:
        assert link.startswith("/api/v1/")
        pages.append(server.request("GET", link).json)
        assert len(pages) < 20, "next never ends"
        link = pages[-1]["meta"]["next"]
    return pages


def test_pages_are_followed_to_the_end(live_server: LiveServer, handlers: str) -> None:
    pages = _follow(live_server, f"{handlers}?limit=3")
    assert [len(page["objects"]) for page in pages] == [3, 3, 1]
    assert [page["meta"]["offset"] for page in pages] == [0, 3, 6]
    assert {page["meta"]["limit"] for page in pages} == {3}
    assert {page["meta"]["total_count"] for page in pages} == {7}
    assert pages[0]["meta"]["previous"] is None
    assert pages[-1]["meta"]["next"] is None
    whole = live_server.request("GET", handlers).json
    assert [each for page in pages for each in page["objects"]] == whole["objects"]
    assert whole["meta"] == {"limit": 25, "next": None, "offset": 0, "previous": None, "total_count": 7}
    back = live_server.request("GET", pages[1]["meta"]["previous"]).json
    assert back["objects"] == pages[0]["objects"]


def test_pages_keep_their_filters(live_server: LiveServer, handlers: str) -> None:
    pages = _follow(live_server, f"{handlers}?name=a&limit=2")
    assert [[each["name"] for each in page["objects"]] for page in pages] == [["a", "a"], ["a"]]
    assert pages[0]["meta"]["total_count"] == 3
    encoded = live_server.request("GET", f"{handlers}?name=%C3%A4%2F%3F%26%3D%2B%25&limit=1").json
    assert [each["name"] for each in encoded["objects"]] == ["ä/?&=+%"]


def test_a_page_beyond_the_end_is_empty(live_server: LiveServer, handlers: str) -> None:
    page = live_server.request("GET", f"{handlers}?offset=100").json
    assert (page["objects"], page["meta"]["next"], page["meta"]["total_count"]) == ([], None, 7)


@pytest.mark.parametrize("kind", ["service", "container", "action"])
def test_lists_are_found_by_uuid_and_its_beginning(live_server: LiveServer, service: str, kind: str) -> None:
    found = live_server.request("GET", f"/api/v1/{kind}/?limit=1").json["objects"][0]
    for value in (found["uuid"], found["uuid"].upper()):
        for query in (f"uuid={value}", f"uuid__startswith={value}", f"uuid__startswith={value[:13]}"):
            page = live_server.request("GET", f"/api/v1/{kind}/?{query}").json
            assert [each["uuid"] for each in page["objects"]] == [found["uuid"]], query
    for query in (f"uuid={found['uuid'][:8]}", f"uuid__startswith={UNKNOWN}", "uuid__startswith=zz"):
        page = live_server.request("GET", f"/api/v1/{kind}/?{query}").json
        assert (page["objects"], page["meta"]["total_count"]) == ([], 0), query


def test_handlers_are_found_by_uuid_and_name(live_server: LiveServer, handlers: str) -> None:
    first = live_server.request("GET", f"{handlers}?limit=1").json["objects"][0]
    for query, count in (
        (f"uuid={first['uuid']}", 1),
        (f"uuid__startswith={first['uuid'][:12].upper()}", 1),
        ("name=a", 3),
        ("name=A", 0),
        ("name=nobody", 0),
        (f"name=b&uuid={first['uuid']}", 0),
    ):
        assert len(live_server.request("GET", f"{handlers}?{query}").json["objects"]) == count, query


def test_services_and_containers_are_found_by_what_they_are(live_server: LiveServer, service: str) -> None:
    uri = f"/api/v1/service/{service}/"
    container = live_server.request("GET", f"/api/v1/container/?service={service}").json["objects"][0]
    for query, count in (
        ("service/?name=contract", 1),
        ("service/?name=contract&state=Running", 1),
        ("service/?name=contract&state=Stopped", 0),
        ("service/?name=contract&state=Nonsense", 0),
        ("service/?stack__name=nowhere", 0),
        (f"container/?service={service}", 3),
        (f"container/?service={uri}", 3),
        (f"container/?service={uri.upper().replace('/API/V1/SERVICE/', '/api/v1/service/')}", 3),
        (f"container/?service={service}&state=Running", 3),
        (f"container/?service={service}&name={container['name']}", 1),
        (f"container/?service={UNKNOWN}", 0),
        (f"action/?object={service}&state=Success", 1),
        (f"action/?object={uri}", 1),
        ("action/?start_date__gte=2999-01-01", 0),
        (f"action/?object={service}&start_date__gte=2000-01-01&end_date__lte=2999-01-01", 1),
    ):
        assert len(live_server.request("GET", f"/api/v1/{query}").json["objects"]) == count, query


def test_uuids_are_taken_in_either_case(live_server: LiveServer, service: str, handlers: str) -> None:
    first = live_server.request("GET", f"{handlers}?limit=1").json["objects"][0]
    for path in (f"/api/v1/service/{service}/", first["resource_uri"]):
        loud = path.replace(service, service.upper()).replace(first["uuid"], first["uuid"].upper())
        assert loud != path
        assert live_server.request("GET", loud).body == live_server.request("GET", path).body


def test_a_service_has_what_clients_read(live_server: LiveServer, service: str) -> None:
    for shown in (
        live_server.service(service),
        live_server.request("GET", "/api/v1/service/?name=contract").json["objects"][0],
    ):
        assert UUID.fullmatch(shown["uuid"])
        assert shown["resource_uri"] == f"/api/v1/service/{service}/"
        assert (shown["name"], shown["state"], shown["engine"]) == ("contract", "Running", "local")
        assert shown["synchronized"] is True
        assert DATE.fullmatch(shown["deployed_datetime"])
        counts = ("target_num_containers", "current_num_containers", "running_num_containers")
        assert [shown[count] for count in counts] == [3, 3, 3]
        assert len(set(shown["containers"])) == 3
        assert {"image_name", "image_digest", "public_dns", "stack", "tags", "owner"} <= shown.keys()
        assert not BREAKS_CLIENTS & shown.keys()


def test_a_container_has_what_clients_read(live_server: LiveServer, service: str) -> None:
    for uri in live_server.service(service)["containers"]:
        shown = live_server.request("GET", uri).json
        assert shown["resource_uri"] == uri
        assert shown["service"] == f"/api/v1/service/{service}/"
        assert UUID.fullmatch(shown["uuid"])
        assert shown["state"] == "Running"
        assert DATE.fullmatch(shown["deployed_datetime"])
        wanted = {"name", "image_name", "run_command", "exit_code", "public_dns", "node", "container_ports"}
        assert wanted <= shown.keys()
        assert not BREAKS_CLIENTS & shown.keys()


def test_an_action_has_what_clients_read(live_server: LiveServer, service: str) -> None:
    (shown,) = live_server.request("GET", f"/api/v1/action/?object={service}").json["objects"]
    assert live_server.request("GET", shown["resource_uri"]).json == shown
    assert UUID.fullmatch(shown["uuid"])
    assert (shown["action"], shown["state"]) == ("Service Start", "Success")
    assert shown["object"] == f"/api/v1/service/{service}/"
    assert DATE.fullmatch(shown["start_date"])
    assert DATE.fullmatch(shown["end_date"])
    assert shown["ip"] == "127.0.0.1"
    assert sorted(shown["container_uris_after"]) == sorted(live_server.service(service)["containers"])
    more = {"location", "reason", "log_tail", "rolled_back", "image_before", "image_after", "containers_before"}
    assert [shown[f"containers_{when}"] for when in ("before", "after")] == [0, len(shown["container_uris_after"])]
    assert more | {"deliveries"} <= shown.keys()


def test_credentials_are_taken_in_both_forms(live_server: LiveServer) -> None:
    pair = f"{USER}:{APIKEY}"
    basic = base64.b64encode(pair.encode()).decode()
    for header in (f"ApiKey {pair}", f"apikey {pair}", f"Basic {basic}", f"basic {basic}", f"ApiKey  {pair} "):
        answer = live_server.request("GET", "/api/v1/auth/", authorization=header)
        assert answer.status == 200, header
        assert answer.json["objects"] == [{"username": USER, "key": APIKEY}]


def test_no_accept_header_and_a_json_type_on_everything_will_do(live_server: LiveServer, service: str) -> None:
    headers = (CREDENTIALS, "Content-Type: application/json")
    for path in ("/api/v1/service/", f"/api/v1/service/{service}/", f"/api/v1/service/{service}/logs/"):
        assert exchange(live_server, request("GET", path, headers=headers)).status == 200


def test_openapi_tells_each_lists_filters_and_no_answer_that_is_never_given(live_server: LiveServer) -> None:
    paths = live_server.request("GET", "/api/openapi.json", authorization=None).json["paths"]
    assert not [path for path, methods in paths.items() for each in methods.values() if "422" in each["responses"]]
    assert {"200", "202", "429", "502", "503", "504"} <= set(
        next(p for u, p in paths.items() if "/call/" in u)["post"]["responses"]
    )
    service = live_server.run_service("told-in-full")
    handler = live_server.add_handler(service).rstrip("/").split("/")[-1]
    lists = [path for path in paths if "get" in paths[path] and "limit" in str(paths[path]["get"].get("parameters"))]
    assert len(lists) == 13
    for path in lists:
        filled = path.format(service_uuid=service, uuid=service, handler_uuid=handler)
        refused = live_server.request("GET", f"{filled}?nobody-knows=1")
        assert refused.status == 400
        known = refused.json["error"].partition("this list knows ")[2].split(", ")
        assert known == sorted(each["name"] for each in paths[path]["get"]["parameters"] if each["in"] == "query")


def test_the_docs_page_needs_no_other_host(live_server: LiveServer) -> None:
    page = live_server.request("GET", "/api/docs", authorization=None)
    assert page.headers["content-type"].startswith("text/html")
    text = page.body.decode()
    assert "//" not in re.sub(r"\s//.*", "", text.replace("/api/", "")), text
    files = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    assert len(files) == 3
    for path in files:
        assert live_server.request("GET", path, authorization=None).status == 200
    check_refusal(live_server.request("GET", "/api/docs/nothing.js", authorization=None), 404)
