"""The overview: what failed, runs and waits; what a new installation lacks; and the corner of unfinished actions."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.dashboard_bed import DashboardBed, find_card, serve_dashboard
from tests.support.pages import Page
from tests.support.stores import ENGINE, open_store, snapshot
from tutumd.errors import Reason


def _now(page: Page) -> str:
    """Return the step that is to be done first."""
    (step,) = page.find("li", aria_current="step")
    return step.text


@pytest.mark.slow
def test_a_new_installation_says_what_is_missing(dashboard: DashboardBed) -> None:
    visitor = dashboard.visit()
    assert "No service was found yet. On docker, each compose service is one." in _now(visitor.get("/"))
    dashboard.bed.show("web")
    page = visitor.get("/")
    assert "1 service can be redeployed, and nobody can call them yet." in _now(page)
    assert page.find("a", "Connect a sender")[0].attributes["href"] == "/connect/"
    dashboard.bed.handler("web")
    assert not visitor.get("/").find("li", aria_current="step")


@pytest.mark.slow
def test_without_an_engine_that_is_said_first(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'test.db'}") as bed, serve_dashboard(bed) as dashboard:
        with bed.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM engines")
        assert "No engine is connected." in _now(dashboard.visit().get("/"))


def test_running_actions_are_in_the_corner_of_all_pages(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web", "db")
    visitor = dashboard.visit()
    assert not visitor.get("/services/").find("aside", id="corner")[0].find("a")
    action = bed.call(bed.handler("web"))
    bed.claimed()
    for path in ("/", "/services/", "/running/", "/nothing-here/"):
        (link,) = visitor.get(path).find("aside", id="corner")[0].find("a")
        assert link.attributes["href"] == f"/action/{action}/" and link.text.startswith("Redeploy web")
    member = dashboard.visit("bob", is_admin=False)
    assert not member.get("/").find("aside", id="corner")[0].find("a")


def test_waiting_actions_are_in_the_corner_after_those_that_run(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web", "db", "api", "job")
    visitor = dashboard.visit()
    held = bed.handler("db", debounce=60)
    bed.accepted(held, bed.evaluate(held, debounce_s=60))
    bed.call(bed.handler("web"))
    bed.claimed()
    links = visitor.get("/services/").find("aside", id="corner")[0].find("a")
    assert [link.text for link in links] == ["Redeploy web just now", "Redeploy db begins in 1 min"]
    bed.call(bed.handler("api"))
    bed.call(bed.handler("job"))
    *links, more = visitor.get("/running/").find("aside", id="corner")[0].find("a")
    assert [link.text.partition(" in ")[0] for link in links] == [
        "Redeploy web just now",
        "Redeploy db begins",
        "Redeploy api waiting 1 s",
    ]
    assert (more.text, more.attributes["href"]) == ("More on the overview", "/")


def test_links_to_different_pages_have_different_names(dashboard: DashboardBed) -> None:
    dashboard.bed.show("web")
    handler = dashboard.bed.handler("web")
    visitor = dashboard.visit()
    for path in ("/", f"/service/{handler.service_uuid}/handler/{handler.number}/"):
        targets: dict[str, set[str]] = {}
        for link in visitor.get(path).find("a"):
            targets.setdefault(link.label, set()).add(link.attributes["href"])
        assert not {name: found for name, found in targets.items() if len(found) > 1}


def test_recent_actions_say_who_requested_what_and_how_it_ended(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.sync(replace(snapshot("web"), owner="bob"), snapshot("db"))
    visitor, member = dashboard.visit(), dashboard.visit("bob", is_admin=False)
    assert "There have been no actions yet." in find_card(visitor.get("/"), "Recent actions").text
    for name, success in (("web", False), ("web", True), ("db", False)):
        bed.call(bed.handler(name))
        claim = bed.claimed()
        bed.clock.move(62)
        bed.finish(claim, success=success)
    page = visitor.get("/")
    assert _recent(page) == ["db Failed 1 min 2 s", "web Success 1 min 2 s", "web Failed 1 min 2 s"]
    row = find_card(page, "Recent actions").find("tr")[3]
    assert row.find("a", "handler 1")[0].attributes["href"] == f"/service/{bed.service_uuid('web')}/handler/1/"
    failed = page.follow("Failed", within=find_card(page, "Recent actions"))
    assert _recent(failed) == ["db Failed 1 min 2 s", "web Failed 1 min 2 s"]
    assert _recent(failed.follow("All results")) == _recent(page)
    assert _recent(visitor.get_part("/?state=Failed")) == _recent(failed)
    assert _recent(member.get("/")) == ["web Success 1 min 2 s", "web Failed 1 min 2 s"]


def _recent(page: Page) -> list[str]:
    """Return service, result and duration of each recent action."""
    columns = ("Service", "Result", "Took")
    rows = find_card(page, "Recent actions").find("tr")[1:]
    return [" ".join(row.find("td", data_label=column)[0].text for column in columns) for row in rows]


def test_a_public_url_is_judged(tmp_path: Path) -> None:
    for name, url, text in (
        ("local", "http://127.0.0.1:8000", "is an address of this machine"),
        ("plain", "http://hooks.example.com", "is plain HTTP"),
        ("good", "https://hooks.example.com", ""),
    ):
        with (
            open_store(f"sqlite:///{tmp_path / name}.db") as bed,
            serve_dashboard(bed, public_url=url, trusted_proxies=["127.0.0.1"]) as dashboard,
        ):
            page = dashboard.visit().get("/")
            assert ("Public URL:" in page.text) == bool(text) and text in page.text


def test_it_says_which_engine_cannot_be_reached_and_what_to_do(dashboard: DashboardBed) -> None:
    denied = Reason("socket-denied", ("/run/docker.sock",))
    other = replace(ENGINE, name="prod", away=True, error="no route to host")
    away = replace(ENGINE, away=True, error="permission denied", faults=(denied,))
    dashboard.bed.queue.register("worker", [away, other])
    assert _now(dashboard.visit("eve").get("/")).endswith("No engine can be reached: this page says why.")
    dashboard.bed.show("web")
    visitor = dashboard.visit()
    alerts = [each.text for each in visitor.get("/").find("div", role="alert")]
    assert alerts[0].startswith(
        "Engine docker: The user of tutumd may not use the socket /run/docker.sock. Actions wait"
    )
    assert "sudo usermod -aG docker USER" in alerts[0]
    assert alerts[1].startswith("Engine prod: The engine does not respond.") and "no route to host" in alerts[1]
    logs = visitor.get(f"/service/{dashboard.bed.service_uuid('web')}/logs/")
    assert "sudo usermod -aG docker USER" in logs.text
    dashboard.bed.queue.register("worker", [ENGINE, replace(other, away=False, error="")])
    assert not visitor.get("/").find("div", role="alert")


def test_it_says_that_another_installation_redeploys_on_an_engine(dashboard: DashboardBed) -> None:
    visitor = dashboard.visit()
    told = "another tutumd installation redeploys on this engine: web-1"
    assert told not in visitor.get("/").text
    dashboard.bed.queue.register("worker", [replace(ENGINE, note=told)])
    assert f"Warning {told}" in find_card(visitor.get("/"), "Engines").text
    dashboard.bed.queue.register("worker", [ENGINE], has_looked=False)
    assert told in visitor.get("/").text, "a heartbeat keeps what was found"
    dashboard.bed.queue.register("worker", [ENGINE])
    assert told not in visitor.get("/").text
