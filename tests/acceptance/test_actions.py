"""Actions over HTTP and by the command line: their log, cancel, abandon, retry and dry run."""

import pytest

from tests.acceptance.accounts import add_member, give
from tests.acceptance.console import Console
from tests.support.server import LiveServer
from tests.support.waiting import wait_until


def call(server: LiveServer, service: str, handler: str) -> str:
    answer = server.request(
        "POST", f"/api/v1/service/{service}/webhook/handler/{handler}/call/", {"x": 1}, authorization=None
    )
    assert answer.status == 202
    return str(answer.json["action"])


def test_the_log_of_a_run_is_told_step_by_step(live_server: LiveServer, console: Console) -> None:
    service = live_server.run_service("logged")
    action = call(live_server, service, live_server.add_handler(service))
    uuid = action.strip("/").rpartition("/")[2]
    followed = console("action", "logs", "-f", uuid)
    assert live_server.request("GET", action).json["state"] == "Success"
    assert "started logged-" in followed
    lines = live_server.request("GET", f"{action}logs/").json["lines"]
    assert followed.count("\n") == len(lines)
    assert live_server.request("GET", f"{action}logs/?after={lines[-1]['number']}").json["lines"] == []
    assert live_server.request("GET", f"{action}logs/?before=1").status == 400


def test_the_output_of_a_service_is_followed_with_a_cursor(live_server: LiveServer) -> None:
    path = f"/api/v1/service/{live_server.run_service('followed', 'seq 3; exec sleep 36000')}/logs/"
    wait_until(lambda: live_server.request("GET", path).json["logs"] == "1\n2\n3", "it has written")
    first = live_server.request("GET", f"{path}?tail=1").json
    assert first["logs"] == "3"
    assert live_server.request("GET", f"{path}?after={first['next']}").json["logs"] == ""
    for query in ("since=2026-01-01T00:00:00Z", "since=now", "after=x"):
        assert live_server.request("GET", f"{path}?{query}").status == 400, query


@pytest.mark.slow
def test_a_pending_action_can_be_canceled_and_then_retried(live_server: LiveServer, console: Console) -> None:
    service, gate = live_server.run_gated_service("canceled")
    handler = live_server.add_handler(service)
    running = call(live_server, service, handler)
    wait_until(lambda: live_server.request("GET", running).json["state"] == "In progress", "the first runs")
    waiting = call(live_server, service, handler)
    assert live_server.request("GET", waiting).json["can_be_canceled"]
    assert "Canceled" in console("action", "cancel", waiting.strip("/").rpartition("/")[2])
    assert live_server.request("GET", waiting).json["can_be_retried"]
    assert live_server.request("POST", f"{waiting}cancel/").status == 409
    retried = live_server.request("POST", f"{waiting}retry/")
    assert retried.status == 202
    gate.touch()
    assert retried.headers["x-tutum-action-uri"] == retried.json["resource_uri"] != waiting
    assert live_server.wait_for_action(retried.json["resource_uri"])["state"] == "Success"
    assert live_server.request("POST", f"{running}retry/").status == 409


@pytest.mark.slow
def test_a_running_action_can_be_abandoned_by_an_admin(live_server: LiveServer, console: Console) -> None:
    service, gate = live_server.run_gated_service("abandoned")
    member = add_member(live_server, "not-an-admin")
    give(live_server, service, member.name)
    handler = live_server.add_handler(service)
    action = call(live_server, service, handler)
    wait_until(lambda: live_server.request("GET", f"{action}logs/").json["lines"], "the new process runs")
    waiting = call(live_server, service, handler)
    assert live_server.request("POST", f"{waiting}abandon/").status == 409
    assert member.send("POST", f"{action}abandon/").status == 403
    assert member.send("GET", action).json["state"] == "In progress"
    assert "Failed" in console("action", "abandon", action.strip("/").rpartition("/")[2])
    ended = live_server.request("GET", action).json
    assert (ended["state"], ended["reason"][:27]) == ("Failed", "left half done: abandoned b")
    assert "started abandoned-1" in ended["reason"]
    assert live_server.request("POST", f"{action}abandon/").status == 409
    gate.touch()
    assert live_server.wait_for_action(waiting)["state"] == "Success"
    lines = [line["text"] for line in live_server.request("GET", f"{waiting}logs/").json["lines"]]
    assert lines[0].startswith("cleaning up what the action")
    live_server.wait_for_service(service, state="Running", running_num_containers=1)
    assert live_server.request("GET", action).json == ended
