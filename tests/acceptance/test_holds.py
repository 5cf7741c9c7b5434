"""Calls while a service is held: they are stored, and exactly one run follows the hold."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.concurrent_clients import post_all
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

CALLS = 200


class Held:
    """A held service with a handler. Each run of its command adds a line to a file."""

    def __init__(self, server: LiveServer, folder: Path, **hold: Any) -> None:
        self.server = server
        self._starts = folder / "starts"
        self.uuid = server.run_service(f"held-{uuid.uuid4()}", f"echo >> {self._starts}; exec sleep 36000")
        self.uri = f"/api/v1/service/{self.uuid}/"
        self.url = str(server.make_handler(self.uuid)["url"])
        self.hold(**hold)

    @property
    def runs(self) -> int:
        """Number of runs since the first start."""
        return len(self._starts.read_text()) - 1

    def hold(self, **fields: Any) -> None:
        answer = self.server.request("POST", f"{self.uri}hold/", {"reason": "incident 42", **fields})
        assert answer.status == 200, answer
        assert (answer.json["is_held"], answer.json["hold_reason"]) == (True, "incident 42")

    def resume(self) -> None:
        answer = self.server.request("DELETE", f"{self.uri}hold/")
        assert (answer.status, answer.json["is_held"]) == (200, False), answer

    def call(self, times: int) -> None:
        assert post_all(self.server, [self.url] * times, clients=10) == [202] * times

    def redeploys(self) -> list[dict[str, Any]]:
        actions = self.server.request("GET", f"/api/v1/action/?object={self.uuid}").json["objects"]
        return [dict(each) for each in actions if each["action"] == "Service Redeploy"]

    def pending(self) -> dict[str, Any]:
        """The one redeploy, which is pending."""
        [action] = self.redeploys()
        assert action["state"] == "Pending", action
        return action

    def check_single_run(self, calls: int = CALLS) -> None:
        """Wait until the one redeploy has succeeded with all calls, and check that nothing else runs or waits."""
        [action] = self.redeploys()
        ended = self.server.wait_for_action(action["resource_uri"])
        assert (ended["state"], ended["deliveries"]) == ("Success", calls), ended
        assert len(self.redeploys()) == 1
        assert self.runs == 1


def test_two_hundred_calls_during_a_hold_cause_one_run_after_it(live_server: LiveServer, tmp_path: Path) -> None:
    held = Held(live_server, tmp_path)
    held.call(CALLS)
    action = held.pending()
    assert [(hold["kind"], hold["until"], hold["by"]) for hold in action["holds"]] == [("hold", None, "username")]
    assert action["held_until"] is None
    assert held.runs == 0
    held.resume()
    held.check_single_run()
    held.resume()
    held.check_single_run()


def test_a_hold_without_calls_ends_without_a_run(live_server: LiveServer, tmp_path: Path) -> None:
    held = Held(live_server, tmp_path)
    held.resume()
    held.call(1)
    held.check_single_run(calls=1)


def test_a_hold_that_expires_starts_one_run(live_server: LiveServer, tmp_path: Path) -> None:
    held = Held(live_server, tmp_path)
    held.call(CALLS)
    held.pending()
    held.hold(until="2s")
    held.check_single_run()
    assert live_server.service(held.uuid)["is_held"] is False


def test_callers_that_wait_learn_what_holds_their_call(live_server: LiveServer, tmp_path: Path) -> None:
    held = Held(live_server, tmp_path, until="4h")
    until = live_server.service(held.uuid)["held_until"]
    accepted = live_server.post(held.url).json
    [hold] = accepted["holds"]
    assert (hold["kind"], hold["reason"], hold["until"], accepted["held_until"]) == (
        "hold",
        "held: incident 42",
        until,
        until,
    )
    answer = live_server.post(f"{held.url}?wait=1")
    assert answer.status == 504, answer
    [hold] = answer.json["holds"]
    assert (hold["kind"], hold["until"], answer.json["held_until"]) == ("hold", until, until)
    for body in (answer.json, live_server.request("GET", answer.json["status_url"], authorization=None).json):
        assert "incident 42" in str(body["reason"]), body
    held.resume()
    held.check_single_run(calls=2)


def test_only_an_override_passes_a_hold_and_carries_out_the_held_calls(live_server: LiveServer, tmp_path: Path) -> None:
    held = Held(live_server, tmp_path)
    held.call(CALLS)
    assert live_server.request("POST", f"{held.uri}redeploy/").status == 202
    assert live_server.post(f"{held.url}?override=1").status == 202
    held.pending()
    assert live_server.request("POST", f"{held.uri}redeploy/?override=1").status == 202
    held.check_single_run(CALLS + 1)
    assert live_server.service(held.uuid)["is_held"] is True
    held.resume()
    held.check_single_run(CALLS + 1)


def test_a_redeploy_waits_for_the_last_of_its_reasons(live_server: LiveServer, tmp_path: Path) -> None:
    held = Held(live_server, tmp_path)
    window = {"service": held.uuid, "from": "2026-01-01", "to": "2099-12-31", "reason": "sale"}
    frozen = live_server.request("POST", "/api/v1/freeze/", window)
    assert frozen.status == 201, frozen
    held.call(CALLS)
    assert {hold["kind"] for hold in held.pending()["holds"]} == {"hold", "freeze"}
    assert "incident 42" in held.pending()["reason"] and "sale" in held.pending()["reason"]
    held.resume()
    assert [(hold["kind"], hold["until"][:4]) for hold in held.pending()["holds"]] == [("freeze", "2099")]
    assert held.runs == 0
    assert live_server.request("DELETE", frozen.json["resource_uri"]).status == 204
    held.check_single_run()


def test_scaling_starts_and_stops_are_not_held(live_server: LiveServer, tmp_path: Path) -> None:
    held = Held(live_server, tmp_path)
    held.call(1)
    more = live_server.make_handler(held.uuid, name="more", operation="SCALEUP")["url"]
    assert live_server.post(f"{more}?wait=240").json["state"] == "Success"
    for verb in ("stop", "start"):
        uri = live_server.request("POST", f"{held.uri}{verb}/").headers["x-tutum-action-uri"]
        assert live_server.wait_for_action(uri)["state"] == "Success"
    assert held.redeploys()[0]["state"] == "Pending"
    live_server.wait_for_service(held.uuid, running_num_containers=2)
    held.resume()


@pytest.mark.slow
def test_a_server_that_is_killed_during_a_hold_runs_once_after_it(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local") as server:
        held = Held(server, tmp_path)
        held.call(CALLS // 2)
        server.kill()
        server.start()
        held.call(CALLS // 2)
        assert held.pending()["deliveries"] == CALLS
        held.resume()
        server.kill()
        server.start()
        wait_until(lambda: held.runs > 0, "the run begins")
        held.check_single_run()
