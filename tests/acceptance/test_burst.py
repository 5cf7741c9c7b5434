"""Calls that arrive together: every one is accepted, none is lost, and no more is done than they ask for."""

from typing import Any

from tests.acceptance.concurrent_clients import post_all
from tests.support.server import LiveServer


def _actions(server: LiveServer, service: str) -> list[dict[str, Any]]:
    return list(server.request("GET", f"/api/v1/action/?object={service}&limit=100").json["objects"])


def test_500_calls_during_a_redeploy_make_one_more_run(live_server: LiveServer) -> None:
    service, gate = live_server.run_gated_service("burst", containers=2)
    handler = live_server.add_handler(service)
    url = f"/api/v1/service/{service}/webhook/handler/{handler}/call/"
    first = live_server.request("POST", url, authorization=None).headers["x-tutum-action-uri"]
    live_server.wait_for_service(service, state="Redeploying")

    statuses = post_all(live_server, [url] * 500, clients=40)
    running = live_server.request("GET", first).json["state"]
    assert statuses == [202] * 500
    assert running == "In progress", "the redeploy ended before the last call came: the test shows nothing"
    gate.touch()

    second = live_server.request("POST", url, authorization=None).headers["x-tutum-action-uri"]
    assert second != first
    live_server.wait_for_action(second)
    actions = _actions(live_server, service)
    assert [(each["action"], each["state"]) for each in actions] == [
        ("Service Redeploy", "Success"),
        ("Service Redeploy", "Success"),
        ("Service Start", "Success"),
    ]
    assert [each["deliveries"] for each in actions] == [501, 1, 0]
    shown = live_server.service(service)
    assert (shown["running_num_containers"], shown["target_num_containers"]) == (2, 2)
    assert sorted(actions[0]["containers_after"]) == sorted(shown["containers"])
    assert not set(shown["containers"]) & set(actions[0]["containers_before"])


def test_amounts_from_32_clients_add_up(live_server: LiveServer) -> None:
    service = live_server.run_service("adding", "exec sleep 600")
    handler = live_server.add_handler(service, "more", "SCALEUP")
    call = f"/api/v1/service/{service}/webhook/handler/{handler}/call/"
    paths = [call, f"{call}2/"] * 16
    assert post_all(live_server, paths, clients=32) == [202] * 32
    expected = 1 + 16 * 3
    live_server.wait_for_service(service, target_num_containers=expected, running_num_containers=expected)
    for action in _actions(live_server, service):
        assert live_server.wait_for_action(action["resource_uri"])["state"] == "Success"
    actions = _actions(live_server, service)
    assert sum(each["deliveries"] for each in actions) == 32
    shown = live_server.service(service)
    assert (shown["target_num_containers"], len(shown["containers"])) == (expected, expected)


def test_what_is_too_much_is_clamped_and_said(live_server: LiveServer) -> None:
    service = live_server.create_service("full", "exec sleep 600")["uuid"]
    live_server.request("PATCH", f"/api/v1/service/{service}/", {"target_num_containers": 98})
    started = live_server.request("POST", f"/api/v1/service/{service}/start/").headers["x-tutum-action-uri"]
    assert live_server.wait_for_action(started)["state"] == "Success"
    handler = live_server.add_handler(service, "more", "SCALEUP")
    call = f"/api/v1/service/{service}/webhook/handler/{handler}/call/5/"
    answers = [live_server.request("POST", call) for _ in range(2)]
    first, second = (live_server.wait_for_action(answer.headers["x-tutum-action-uri"]) for answer in answers)
    assert first["state"] == "Success"
    assert live_server.service(service)["running_num_containers"] == 100
    assert "100" in first["reason"]
    if second["uuid"] != first["uuid"]:
        assert second["state"] == "Failed"
        assert "nothing was added" in second["reason"]
    live_server.wait_for_action(
        live_server.request("DELETE", f"/api/v1/service/{service}/").headers["x-tutum-action-uri"]
    )
