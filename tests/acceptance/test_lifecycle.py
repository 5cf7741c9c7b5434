"""What handlers and services live through, as the wire contract has it: create, call, scale, stop, start, terminate."""

from typing import Any

import pytest

from tests.acceptance.raw_http import check_refusal
from tests.support.server import Answer, LiveServer


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    """A service that was created and never started."""
    definition = {"name": "lifecycle", "image": "none", "run_command": "echo begins; exec sleep 600"}
    created = live_server.request("POST", "/api/v1/service/", definition)
    assert created.status == 201
    assert created.json["state"] == "Not running"
    assert created.json["deployed_datetime"] is None
    assert (created.json["target_num_containers"], created.json["current_num_containers"]) == (1, 0)
    return str(created.json["uuid"])


@pytest.fixture(scope="session")
def handlers(service: str) -> str:
    return f"/api/v1/service/{service}/webhook/handler/"


def test_defaults_and_letter_case_of_a_handler(live_server: LiveServer, handlers: str) -> None:
    for fields in ({}, {"operation": None}, {"operation": ""}, {"operation": "redeploy"}, {"name": None}, {"name": ""}):
        made = live_server.request("POST", handlers, fields)
        assert made.status == 201, fields
        assert made.json["operation"] == "REDEPLOY"
        assert made.json["name"] == fields.get("name")


def test_a_list_makes_handlers_in_its_order(live_server: LiveServer, handlers: str) -> None:
    before = live_server.request("GET", handlers).json["meta"]["total_count"]
    made = live_server.request("POST", handlers, [{"name": "x"}, {"name": None}, {"name": "x", "operation": "SCALEUP"}])
    assert made.status == 201
    assert [(each["name"], each["operation"]) for each in made.json] == [
        ("x", "REDEPLOY"),
        (None, "REDEPLOY"),
        ("x", "SCALEUP"),
    ]
    assert live_server.request("GET", f"{handlers}?offset={before}").json["objects"] == made.json
    assert live_server.request("POST", handlers, []).json == []


def test_a_service_goes_through_its_life(live_server: LiveServer, service: str) -> None:
    uri = f"/api/v1/service/{service}/"

    def act(method: str, end: str, body: object = None) -> dict[str, Any]:
        answer = live_server.request(method, f"{uri}{end}", body)
        assert answer.status == (200 if method == "PATCH" else 202)
        assert answer.json["uuid"] == service
        return live_server.wait_for_action(answer.headers["x-tutum-action-uri"])

    assert act("POST", "start/")["state"] == "Success"
    started = live_server.service(service)
    assert (started["state"], started["running_num_containers"]) == ("Running", 1)

    assert act("PATCH", "", {"target_num_containers": 3})["state"] == "Success"
    scaled = live_server.service(service)
    assert (scaled["target_num_containers"], scaled["running_num_containers"]) == (3, 3)
    assert set(started["containers"]) < set(scaled["containers"])

    redeployed = act("POST", "redeploy/?reuse_volumes=True", {})
    assert redeployed["state"] == "Success"
    assert sorted(redeployed["container_uris_before"]) == sorted(scaled["containers"])
    fresh = live_server.service(service)
    assert sorted(redeployed["container_uris_after"]) == sorted(fresh["containers"])
    assert not set(fresh["containers"]) & set(scaled["containers"])
    assert len(fresh["containers"]) == 3

    logs = live_server.request("GET", f"{uri}logs/")
    assert logs.json.keys() == {"logs", "next"}
    assert "begins" in logs.json["logs"]

    assert act("POST", "stop/")["state"] == "Success"
    stopped = live_server.service(service)
    assert (stopped["state"], stopped["running_num_containers"]) == ("Stopped", 0)
    assert stopped["target_num_containers"] == 3

    assert act("POST", "start/")["state"] == "Success"
    assert live_server.service(service)["running_num_containers"] == 3


def test_scaling_as_the_clients_of_2015_do_adds_once(live_server: LiveServer) -> None:
    uuid = live_server.run_service("scaled-once")
    uri = f"/api/v1/service/{uuid}/"
    patched = live_server.request("PATCH", uri, {"target_num_containers": 2})
    assert (patched.status, patched.json["target_num_containers"]) == (200, 2)
    posted = live_server.request("POST", f"{uri}scale/")
    assert posted.status == 202
    for answer in (patched, posted):
        assert live_server.wait_for_action(answer.headers["x-tutum-action-uri"])["state"] == "Success"
    shown = live_server.service(uuid)
    assert (shown["target_num_containers"], shown["running_num_containers"]) == (2, 2)


@pytest.mark.slow
def test_a_call_answers_the_handler_and_its_action(live_server: LiveServer) -> None:
    uuid = live_server.run_service("called")
    handlers = f"/api/v1/service/{uuid}/webhook/handler/"
    made = live_server.request("POST", handlers, {"name": "more", "operation": "SCALEUP"}).json

    def call(url: str) -> Answer:
        answer = live_server.request("POST", url, authorization=None)
        assert answer.status == 202
        uri = answer.headers["x-tutum-action-uri"]
        named = {key: made[key] for key in ("uuid", "resource_uri", "name", "operation")}
        status = answer.json["status_url"]
        assert answer.json == {**named, "url": url.split("call/")[0] + "call/", "action": uri, "status_url": status}
        action = live_server.wait_for_action(uri)
        assert (action["action"], action["state"]) == ("Service Scale Up", "Success")
        return answer

    call(made["url"])
    assert live_server.service(uuid)["running_num_containers"] == 2
    call(f"{made['url']}2/")
    shown = live_server.service(uuid)
    assert (shown["target_num_containers"], shown["running_num_containers"]) == (4, 4)


def test_a_number_on_a_redeploy_handler_does_not_scale(live_server: LiveServer) -> None:
    uuid = live_server.run_service("redeployed")
    handler = live_server.add_handler(uuid)
    before = live_server.service(uuid)
    url = f"/api/v1/service/{uuid}/webhook/handler/{handler}/call/5/"
    called = live_server.request("POST", url, authorization=None)
    assert live_server.wait_for_action(called.headers["x-tutum-action-uri"])["state"] == "Success"
    after = live_server.service(uuid)
    assert (after["target_num_containers"], after["running_num_containers"]) == (1, 1)
    assert after["containers"] != before["containers"]


def test_a_change_holds_from_the_next_redeploy_on(live_server: LiveServer) -> None:
    uuid = live_server.run_service("changed")
    uri = f"/api/v1/service/{uuid}/"
    changed = live_server.request("PATCH", uri, {"run_command": "echo $GREETING; exec sleep 600",
        "container_envvars": [{"key": "GREETING", "value": "hello 'there'\n\"ä\""}]})  # fmt: skip
    assert changed.status == 200
    assert "x-tutum-action-uri" not in changed.headers
    assert changed.json["container_envvars"] == [{"key": "GREETING", "value": "hello 'there'\n\"ä\""}]
    answer = live_server.request("POST", f"{uri}redeploy/")
    assert live_server.wait_for_action(answer.headers["x-tutum-action-uri"])["state"] == "Success"
    assert "hello 'there' \"ä\"" in live_server.request("GET", f"{uri}logs/").json["logs"]


def test_a_terminated_service_and_its_handlers_are_gone(live_server: LiveServer) -> None:
    uuid = live_server.run_service("ended")
    handler = live_server.add_handler(uuid)
    uri = f"/api/v1/service/{uuid}/"
    answer = live_server.request("DELETE", uri)
    assert (answer.status, answer.json["uuid"]) == (202, uuid)
    assert live_server.wait_for_action(answer.headers["x-tutum-action-uri"])["state"] == "Success"
    for method, path in (
        ("GET", uri),
        ("DELETE", uri),
        ("POST", f"{uri}start/"),
        ("GET", f"{uri}webhook/handler/"),
        ("GET", f"{uri}webhook/handler/{handler}/"),
        ("POST", f"{uri}webhook/handler/{handler}/call/"),
    ):
        check_refusal(live_server.request(method, path), 404)
    assert live_server.request("GET", "/api/v1/service/?name=ended").json["objects"] == []
    again = live_server.request("POST", "/api/v1/service/", {"name": "ended", "image": "x", "run_command": "sleep 1"})
    assert again.status == 201
    assert again.json["uuid"] != uuid
