"""The page of an action: why it failed, its steps, its log and calls, and abandoning it."""

from uuid import uuid4

import pytest

from tests.acceptance.accounts import add_limited_key
from tests.support.pages import Page, Visitor, signed_in
from tests.support.server import USER, LiveServer
from tests.support.waiting import wait_until
from tutumd.model import Scope


def call(server: LiveServer, service: str, handler: str, **headers: str) -> str:
    """Call a handler, and return the path of its action's page."""
    called = server.post(f"/api/v1/service/{service}/webhook/handler/{handler}/call/", b"{}", **headers)
    assert called.status == 202, called
    return str(called.json["action"]).removeprefix("/api/v1")


def wait_for_end(server: LiveServer, path: str) -> None:
    server.wait_for_action(f"/api/v1{path}")


def steps(page: Page) -> list[str]:
    (timeline,) = page.find("ol", class_="timeline")
    return [each.find("span", class_="text")[0].text for each in timeline.find("li")]


def test_a_success_shows_its_steps_log_calls_and_containers(live_server: LiveServer, visitor: Visitor) -> None:
    service = live_server.run_service(f"web-{uuid4().hex[:8]}")
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    path = call(live_server, service, live_server.add_handler(service), User_Agent=agent)
    wait_for_end(live_server, path)
    page = visitor.get(path)
    assert steps(page) == [
        "Requested",
        "Waited for its turn",
        "Prepared",
        "The new containers are ready",
        "The new containers keep running",
        "The old containers are gone",
        "Done",
    ]
    (log,) = page.find("div", id="log")
    assert "ended" in log.text
    (diff,) = page.find("div", aria_label="Containers")
    assert len(diff.find("del")) == len(diff.find("ins")) == 1
    assert len(page.find("span", "Firefox on Linux", title=agent)) == 1, "among the facts"
    assert len(page.find("p", "Firefox on Linux", title=agent)) == 1, "at its call"
    assert "Mozilla" not in page.text
    delivery = page.follow(next(each.text for each in page.find("a") if each.text.startswith("#")))
    assert (delivery.status, delivery.title.startswith("Delivery")) == (200, True)


def test_a_failure_says_why_first_and_shows_what_the_container_wrote(live_server: LiveServer, visitor: Visitor) -> None:
    service = live_server.run_service(f"web-{uuid4().hex[:8]}")
    command = "sh -c \"echo '<script>alert(1)</script><img src=x>'; exit 3\""
    changed = live_server.request("PATCH", f"/api/v1/service/{service}/", {"run_command": command})
    assert changed.status in (200, 202), changed
    path = call(live_server, service, live_server.add_handler(service))
    wait_for_end(live_server, path)
    page = visitor.get(path)
    assert page.alert.startswith("It failed: ")
    assert "exit code 3" in page.alert
    assert page.alert.endswith("Its containers are those from before.")
    assert steps(page)[-1] == "Failed"
    assert page.find("li", data_step="failed")
    (output,) = page.find("div", aria_label="Last output of the container")
    assert output.text == "<script>alert(1)</script><img src=x>"
    assert not [each for each in page.find("script") if "src" not in each.attributes]
    assert not page.find("img", src="x")


def test_an_admin_abandons_a_running_action(live_server: LiveServer, visitor: Visitor) -> None:
    service, gate = live_server.run_gated_service(f"web-{uuid4().hex[:8]}")
    running = call(live_server, service, live_server.add_handler(service))
    wait_until(lambda: visitor.get(running).find("button", "Abandon the action"), "it runs")
    page = visitor.get(running).submit("Abandon the action")
    assert "abandoned" in page.alert
    gate.touch()


@pytest.mark.slow
@pytest.mark.parametrize("scope", [Scope.READ, Scope.CALL])
def test_who_only_reads_or_calls_has_no_buttons(live_server: LiveServer, visitor: Visitor, scope: Scope) -> None:
    service = live_server.run_service(f"web-{uuid4().hex[:8]}")
    path = call(live_server, service, live_server.add_handler(service))
    reader = signed_in(live_server, USER, add_limited_key(live_server, USER, scope=scope).key)
    page = reader.get(path)
    for label in ("Cancel", "Retry", "Abandon"):
        assert not page.find("button", f"{label} the action")
    wait_for_end(live_server, path)
