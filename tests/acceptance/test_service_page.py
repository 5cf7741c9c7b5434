"""The page of a service, and its plan, whatever its engine does."""

from dataclasses import replace

import pytest

from tests.support.dashboard_bed import DashboardBed, find_card
from tests.support.pages import Page, Visitor
from tests.support.stores import ENGINE, ORIGIN, query, snapshot
from tutumd.model import NewHandler, Operation, Outcome, Scope, Verb

DIGESTS = [f"sha256:{letter * 64}" for letter in "ab"]
PLAN = {
    "refused": "",
    "order": "start-first",
    "order_reason": "nothing forbids it",
    "image_name": "app:latest",
    "image_before": DIGESTS[0],
    "image_after": DIGESTS[1],
    "steps": ["fetch app:latest", "remove the old containers"],
    "notes": ["the compose file was not read"],
}


def _open(dashboard: DashboardBed, visitor: Visitor, name: str = "web", path: str = "") -> Page:
    page = visitor.get(f"/service/{dashboard.bed.service_uuid(name)}/{path}")
    assert page.status == 200, page.text
    return page


def _visit(dashboard: DashboardBed) -> Visitor:
    """Sign in to an installation with the service web."""
    dashboard.bed.show("web")
    return dashboard.visit()


def _card(page: Page, title: str) -> str:
    return find_card(page, title).text


def _submit(dashboard: DashboardBed, verb: Verb) -> None:
    bed = dashboard.bed
    bed.store.submit(bed.admin, bed.service_uuid("web"), verb, target=None, origin=ORIGIN)


def _open_plan(dashboard: DashboardBed, visitor: Visitor) -> Page:
    with dashboard.answering({"plan": PLAN}):
        return _open(dashboard, visitor, path="redeploy/")


def test_it_shows_what_the_service_is_and_does(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    settings = (("tutum.owner", "root"), ("tutum.scale.max", "5"))
    warnings = ("Argo CD tracks it",)
    bed.sync(replace(snapshot("web"), settings=settings, warnings=warnings, notes=("the compose file was not read",)))
    handler = bed.handler("web", Operation.REDEPLOY)
    bed.call(handler)
    page = _open(dashboard, dashboard.visit())
    assert page.title == "web · tutumd"
    assert "2 of 2 containers run" in page.text and "Argo CD tracks it" in page.text
    assert "the compose file was not read" in page.text
    assert "web-1 Running" in _card(page, "Containers")
    assert "tutum.scale.max = 5" in _card(page, "Settings")
    assert f"handler {handler.number} Active Redeploy" in _card(page, "Handlers")
    assert "Queued Pending" in _card(page, "Deliveries") and ORIGIN.address in _card(page, "Deliveries")
    assert "Redeploy" in _card(page, "Actions")


@pytest.mark.parametrize(("number", "is_folded"), [(6, False), (7, True)])
def test_many_containers_are_folded(dashboard: DashboardBed, number: int, is_folded: bool) -> None:
    dashboard.bed.sync(snapshot("web", containers=number))
    card = find_card(_open(dashboard, dashboard.visit()), "Containers")
    assert bool(card.find("details")) == is_folded
    assert len(card.find("td", data_label="Container")) == number


def test_it_says_why_the_last_action_failed(dashboard: DashboardBed) -> None:
    dashboard.bed.show("web")
    _submit(dashboard, Verb.REDEPLOY)
    dashboard.bed.queue.finish(dashboard.bed.claimed(), Outcome(success=False, reason="it exited with 3"), None)
    assert "The last action failed: it exited with 3" in _open(dashboard, dashboard.visit()).text


@pytest.mark.slow
def test_the_plan_comes_before_the_redeploy(dashboard: DashboardBed) -> None:
    visitor = _visit(dashboard)
    page = _open(dashboard, visitor)
    with dashboard.answering({"plan": PLAN}):
        page = page.follow("Redeploy…")
    assert page.title == "Redeploy web · tutumd"
    for text in (*DIGESTS[:2], *PLAN["steps"], "start-first", "nothing forbids it", *PLAN["notes"]):
        assert text in page.text
    assert "tutum service redeploy web" in page.text
    assert not dashboard.bed.has_pending_action(), "a look changes nothing"
    page = page.submit("Redeploy now")
    (action,) = dashboard.bed.store.actions(dashboard.bed.admin, query()).objects
    assert page.path == f"/action/{action.uuid}/"


def test_the_plan_says_what_a_redeploy_joins_or_waits_for(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    _submit(dashboard, Verb.REDEPLOY)
    bed.claimed()
    visitor = dashboard.visit()
    runs, waits = "Redeploy in progress: a redeploy now waits for its end.", "Redeploy pending: a redeploy now joins it"
    page = _open_plan(dashboard, visitor)
    assert runs in page.text and waits not in page.text
    _submit(dashboard, Verb.REDEPLOY)
    page = _open_plan(dashboard, visitor)
    assert runs in page.text and waits in page.text
    _submit(dashboard, Verb.STOP)
    page = _open_plan(dashboard, visitor)
    assert "Redeploy pending: a redeploy now waits for its end." in page.text, "what is to come in between closes it"
    assert "Stop pending: a redeploy now waits for its end." in page.text


def test_a_plan_that_is_refused_says_why_and_has_no_button(dashboard: DashboardBed) -> None:
    visitor = _visit(dashboard)
    with dashboard.answering({"plan": {**PLAN, "refused": "it is being removed"}}):
        page = _open(dashboard, visitor, path="redeploy/")
    assert "A redeploy would fail, and change nothing: it is being removed" in page.text
    assert not page.find("button", "Redeploy now")


@pytest.mark.parametrize("path", ["redeploy/", "logs/"])
def test_an_engine_that_is_away_is_not_waited_for(dashboard: DashboardBed, path: str) -> None:
    visitor = _visit(dashboard)
    dashboard.bed.queue.register("worker", [replace(ENGINE, error="no route to host", away=True)])
    page = _open(dashboard, visitor, path=path)
    assert "The engine does not respond. Actions wait until it responds: no route to host" in page.text
    assert not dashboard.bed.queue.take_requests(["docker"])
    overview = visitor.get("/")
    assert "Away The engine does not respond" in _card(overview, "Engines")
    dashboard.bed.clock.move(3600)
    assert "No worker serves this engine" in _open(dashboard, visitor, path=path).text


@pytest.mark.slow
def test_without_a_plan_it_can_be_redeployed_all_the_same(dashboard: DashboardBed) -> None:
    visitor = _visit(dashboard)
    dashboard.bed.clock.move(60)
    _open(dashboard, visitor, path="redeploy/").submit("Redeploy now")
    page = _open(dashboard, visitor)
    assert "Redeploy pending, waiting: no worker serves engine 'docker' now" in page.text
    assert "waiting: no worker serves engine 'docker' now" in _card(visitor.get("/"), "Waiting")


def test_a_service_that_is_gone_can_be_forgotten(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web", "legacy")
    handler = bed.handler("legacy")
    bed.show("web")
    page = _open(dashboard, dashboard.visit(), "legacy")
    assert "Gone" in page.text and not page.find("a", "Redeploy…") and not page.find("button", "Stop")
    assert "1 handler will be revoked" in page.text and "tutum service forget legacy" in page.text
    assert page.submit("Forget").alert == "The service is forgotten, and its handlers are revoked."
    assert not bed.store.unused_handlers(bed.admin, None, query()).total
    assert page.visitor.get(f"/service/{handler.service_uuid}/").status == 404


@pytest.mark.slow
def test_a_command_names_a_service_by_its_uuid_where_its_name_means_another_one_too(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web", "-x", "gone")
    bed.show("web", "-x")
    other = replace(ENGINE, name="second")
    bed.queue.register("worker", [ENGINE, other])
    assert bed.queue.sync(other, [snapshot("web", prefix="d"), snapshot("gone", prefix="d")], revisions={})
    visitor = dashboard.visit()
    for service in bed.store.services(bed.admin, query()).objects:
        new = NewHandler(operation=Operation.REDEPLOY, name="ci")
        (handler,) = bed.store.add_handlers(bed.admin, service.uuid, [new])
        word = "gone" if (service.name, service.engine) == ("gone", "second") else service.uuid
        page = visitor.get(f"/service/{service.uuid}/")
        assert f"tutum service {'forget' if service.gone_since else 'stop'} {word}" in page.text
        assert f"tutum webhook-handler rm {word} ci" in visitor.get(f"{page.path}handler/{handler.number}/").text
        assert f"tutum webhook-handler create {word} " in visitor.get(f"{page.path}connect/?sender=github").text
    choices = [choice.text for choice in visitor.get("/connect/").find("a") if choice.text.startswith("web")]
    assert {choice.rpartition("on ")[2] for choice in choices} == {"docker", "second"}, choices


def test_what_is_redeployed_has_no_button_to_start_it(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    _submit(dashboard, Verb.REDEPLOY)
    bed.claimed()
    page = _open(dashboard, dashboard.visit())
    assert "Redeploying" in page.text and page.find("button", "Stop") and not page.find("button", "Start")


def test_what_cannot_be_done_has_no_button_and_says_why(dashboard: DashboardBed) -> None:
    visitor = _visit(dashboard)
    page = _open(dashboard, visitor)
    live = next(each for each in page.find("div") if each.attributes.get("id") == "live")
    assert live.find("button", "Stop") and not page.find("button", "Start"), "buttons change with the state"
    forget = f"/service/{dashboard.bed.service_uuid('web')}/forget/"
    refused = visitor.post(forget, {"csrf": page.form("Scale").csrf})
    assert refused.status == 409 and refused.alert.startswith("Not done: web is not gone")
    assert refused.find("h1", "web"), "on the page of the service"
    assert not dashboard.bed.has_pending_action()


@pytest.mark.slow
def test_a_wrong_number_of_containers_is_told_at_its_field(dashboard: DashboardBed) -> None:
    page = _open(dashboard, _visit(dashboard))
    for target in ("", "-1", "x", "11", "9" * 30, "<b>"):
        refused = page.submit("Scale", target=target)
        assert refused.status == 400 and refused.find("h1", "web")
        (typed,) = refused.find("input", name="target")
        assert (typed.attributes["value"], typed.attributes["aria-invalid"]) == (target, "true")
        (told,) = refused.find("p", id=typed.attributes["aria-describedby"])
        assert "from 0 to 10" in told.text
        menu = typed.ancestor("details")
        part = next(each for each in refused.find("div") if each.attributes.get("id") == "live")
        assert menu is not None and "open" in menu.attributes
        assert part.attributes["hx-get"] == page.path, "the page goes on to refresh itself"
        assert not dashboard.bed.has_pending_action()
    assert refused.submit("Scale", target="3").status == 200
    assert dashboard.bed.has_pending_action()


@pytest.mark.slow
@pytest.mark.parametrize("scope", list(Scope))
def test_buttons_are_for_those_who_may_press_them(dashboard: DashboardBed, scope: Scope) -> None:
    dashboard.bed.show("web")
    visitor = dashboard.visit_with_scope(scope)
    page = _open(dashboard, visitor)
    can_call, can_operate = (scope.includes(each) for each in (Scope.CALL, Scope.OPERATE))
    assert bool(page.find("a", "Redeploy…")) == can_call
    assert bool(page.find("a", "Connect a sender")) == can_operate
    for button in ("Scale", "Stop"):
        assert bool(page.find("button", button)) == can_operate
