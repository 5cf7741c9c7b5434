"""Calls that arrive together: every one is accepted, and they cause one more run."""

from typing import Any

import pytest

from tests.acceptance.concurrent_clients import post_all
from tests.support.server import LiveServer


def _actions(server: LiveServer, service: str) -> list[dict[str, Any]]:
    return list(server.request("GET", f"/api/v1/action/?object={service}&limit=100").json["objects"])


@pytest.mark.slow
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
    assert sorted(actions[0]["container_uris_after"]) == sorted(shown["containers"])
    assert not set(shown["containers"]) & set(actions[0]["container_uris_before"])
