"""Pages of rollbacks and holds: images, the plan of a rollback, the hold of a service, and the calls that it holds."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.dashboard_bed import DashboardBed, find_card
from tests.support.history import look, redeploy
from tests.support.pages import Page, Visitor
from tests.support.stores import ENGINE, ORIGIN, query
from tutumd.application.rollbacks import NOT_ROLLED_BACK
from tutumd.model import ActionState, Operation, Scope, Verb
from tutumd.model.freeze import NewFreezeWindow

PLAN = {"refused": "", "order": "start-first", "order_reason": "", "steps": ["pull b"], "notes": ["a note"]}


@pytest.fixture
def visitor(dashboard: DashboardBed) -> Visitor:
    """Sign in to an installation with a service that ran image a, then b, and runs c."""
    dashboard.bed.sync(look("a"))
    redeploy(dashboard.bed, "b", "c")
    return dashboard.visit()


def _uuid(dashboard: DashboardBed) -> str:
    return dashboard.bed.service_uuid("web")


def _path(dashboard: DashboardBed, below: str = "") -> str:
    return f"/service/{dashboard.bed.service_uuid('web')}/{below}"


def _plan(dashboard: DashboardBed, page: Page, link: str) -> Page:
    with dashboard.answering({"plan": PLAN}):
        return page.follow(link)


def _hold(dashboard: DashboardBed, *, calls: int = 0, reason: str = "incident 42") -> None:
    """Hold the service for an hour, and call it."""
    bed = dashboard.bed
    bed.store.hold(bed.admin, bed.service_uuid("web"), until=bed.clock() + timedelta(hours=1), reason=reason)
    if calls:
        handler = bed.handler("web")
        for _ in range(calls):
            bed.call(handler)


def test_images_say_where_they_are_and_which_can_be_restored(dashboard: DashboardBed, visitor: Visitor) -> None:
    dashboard.bed.sync(look("x"))  # somebody else did it
    redeploy(dashboard.bed, "c")
    page = visitor.get(_path(dashboard))
    rows = find_card(page, "Images").find("tr")[1:]
    assert [bool(row.find("a", "Roll back to this")) for row in rows] == [False, False, False, True, True]
    assert "Running" in rows[0].text and "by admin" in rows[0].text and "not verified" in rows[1].text
    (part,) = [each for each in page.find("div") if each.attributes.get("hx-trigger") == "load"]
    with dashboard.answering({"images": {"2": "registry", "1": "no"}}):
        listed = visitor.get(part.attributes["hx-get"])
    assert listed.find("div", id=part.attributes["id"]), "a script finds the part in the response"
    rows = find_card(listed, "Images").find("tr")[1:]
    for row, (where, can_return) in zip(
        rows[2:], (("Unknown", False), ("In the registry", True), ("Not found", False)), strict=True
    ):
        assert where in row.text and bool(row.find("a", "Roll back to this")) == can_return


def test_an_engine_that_is_away_is_not_asked_for_images(dashboard: DashboardBed, visitor: Visitor) -> None:
    dashboard.bed.queue.register("worker", [replace(ENGINE, error="no route to host", away=True)])
    page = visitor.get(_path(dashboard, "image/"))
    assert "Nobody can say where the images are:" in page.text and "Unknown" in page.text
    assert not dashboard.bed.queue.take_requests(["docker"])


def test_a_rollback_shows_its_plan_and_holds_the_service(dashboard: DashboardBed, visitor: Visitor) -> None:
    page = _plan(dashboard, visitor.get(_path(dashboard)), "Roll back…")
    assert page.find("h1", "Roll back web to image #2 (sha256:bbbbbbbbbbbb)")
    for text in (*PLAN["steps"], *PLAN["notes"], *NOT_ROLLED_BACK, "tutum service rollback web --image 2"):
        assert page.text.count(text) == 1, text
    assert not dashboard.bed.has_pending_action(), "a look changes nothing"
    action = page.submit("Roll back now", reason="incident 42")
    assert action.title == "Roll back to image 2 web · tutumd" and "Rolls back to image 2" in action.text
    held = visitor.get(_path(dashboard))
    assert "Redeploys are held. By root, just now, with a rollback: incident 42." in held.text
    assert "Roll back to image 2 pending" in held.text and "until somebody resumes the service" in held.text
    resumed = held.submit("Resume")
    assert "is not held any more" in resumed.alert and "Redeploys are held" not in resumed.text
    assert not resumed.find("button", "Resume")


def test_a_rollback_without_a_hold(dashboard: DashboardBed, visitor: Visitor) -> None:
    dashboard.bed.queue.register("worker", [replace(ENGINE, error="no route to host", away=True)])
    page = visitor.get(_path(dashboard)).follow("Roll back to image 1")
    assert "You can roll back anyway" in page.text and NOT_ROLLED_BACK[0] in page.text
    form = page.form("Roll back now")
    sent = {name: value for name, value in form.fields if name != "hold"}
    actions = [visitor.post(form.address, sent).path for _ in range(2)]
    assert actions[0] == actions[1], "sent twice, it is one rollback"
    assert "Redeploys are held" not in visitor.get(_path(dashboard)).text
    (action,) = [each for each in dashboard.bed.store.actions(dashboard.bed.admin, query()).objects if each.image]
    assert (action.verb, action.image and action.image.number) == (Verb.ROLLBACK, 1)


def test_a_rollback_says_what_it_does_with_other_actions(dashboard: DashboardBed, visitor: Visitor) -> None:
    bed = dashboard.bed
    service = bed.service_uuid("web")
    bed.store.submit(bed.admin, service, Verb.REDEPLOY, target=None, origin=ORIGIN)
    page = _plan(dashboard, visitor.get(_path(dashboard)), "Roll back…")
    assert "Redeploy pending: the rollback cancels it." in page.text
    claim = bed.claimed()
    bed.store.submit(bed.admin, service, Verb.STOP, target=None, origin=ORIGIN)
    page = _plan(dashboard, visitor.get(_path(dashboard)), "Roll back…")
    assert "Redeploy in progress: the rollback cancels it, and begins when the redeploy has been undone." in page.text
    assert "Stop pending: the rollback waits for its end." in page.text
    page.submit("Roll back now")
    assert bed.store.action(bed.admin, claim.action.uuid).state is ActionState.CANCELING


def test_a_rollback_that_is_refused_says_why(dashboard: DashboardBed, visitor: Visitor) -> None:
    bed = dashboard.bed
    page = _plan(dashboard, visitor.get(_path(dashboard)), "Roll back to image 2")
    for number, text in (("9", "image must be the number"), ("3", "the service already runs #3"), ("x", "got 'x'")):
        shown = visitor.get(_path(dashboard, f"rollback/?image={number}"))
        assert "There is no rollback:" in shown.text and text in shown.text
        assert not shown.find("button", "Roll back now")
    refused = page.submit("Roll back now", reason="x" * 1001)
    assert refused.status == 400 and refused.alert.startswith("Not done: reason must have at most 1000 characters")
    assert "checked" in refused.find("input", name="hold")[0].attributes
    redeploy(bed, "b")
    again = page.submit("Roll back now")
    assert again.status == 409 and "the service already runs #2" in again.alert
    bed.sync(replace(look("b"), rollback_refusal="The Deployment is paused."))
    assert "The Deployment is paused." in visitor.get(_path(dashboard, "rollback/")).text
    assert not visitor.get(_path(dashboard)).find("a", "Roll back…")


def test_the_form_of_a_hold_keeps_what_was_typed(dashboard: DashboardBed, visitor: Visitor) -> None:
    page = visitor.get(_path(dashboard))
    form = dict(page.form("Hold the redeploys").fields)
    for values, text in (({"until": "soon"}, "until must be"), ({"reason": "y" * 1001}, "reason must have at most")):
        refused = visitor.post(_path(dashboard, "hold/"), form | {"reason": "incident 42"} | values)
        (menu,) = refused.find("details", id="hold")
        assert refused.status == 400 and "open" in menu.attributes and text in menu.text
        assert (form | {"reason": "incident 42"} | values)["reason"] == menu.find("input", name="reason")[0].attributes[
            "value"
        ]
        assert "Redeploys are held" not in refused.text
    for _ in range(2):
        held = page.submit("Hold the redeploys", until="4h", reason="incident 42")
        assert "Redeploys of the service are held." in held.alert
        assert "Redeploys are held. By root, just now: incident 42. The hold ends in 4 h" in held.text
    assert held.find("span", "Held") or "Held" in visitor.get("/services/").text
    dashboard.bed.clock.move(4 * 3600)
    assert "Redeploys are held" not in visitor.get(_path(dashboard)).text


def test_held_calls_are_on_the_overview_until_somebody_resumes(dashboard: DashboardBed, visitor: Visitor) -> None:
    bed = dashboard.bed
    _hold(dashboard, calls=3)
    page = visitor.get("/")
    card = find_card(page, "Held")
    for text in ("web", "incident 42", "Calls 3", "in 1 h"):
        assert text in " ".join(f"{row.attributes.get('data-label')} {row.text}" for row in card.find("td")), text
    assert not page.find("h2", "Waiting")
    action = page.follow("3 calls of web")
    holds = find_card(action, "Holds").text
    assert "Hold of the service" in holds and "incident 42" in holds and "admin" in holds and "in 1 h" in holds
    assert bed.claim() is None
    assert "is not held any more" in page.submit("Resume web").alert
    assert not visitor.get("/").find("h2", "Held")
    assert bed.claimed().action.uuid == action.path.split("/")[2]
    again = visitor.post(_path(dashboard, "resume/"), {"csrf": visitor.get("/account/").form("Sign out").csrf})
    assert again.status == 200, "a service without a hold is resumed, too"


def test_a_redeploy_in_spite_of_a_hold_needs_operate(dashboard: DashboardBed, visitor: Visitor) -> None:
    bed = dashboard.bed
    _hold(dashboard, calls=2)
    caller = dashboard.visit_with_scope(Scope.CALL)
    page = _plan(dashboard, caller.get(_path(dashboard)), "Redeploy…")
    assert "Redeploys are held." in page.text
    assert not page.find("button", "Redeploy now, in spite of the hold")
    form = page.form("Redeploy now")
    assert caller.post(form.address, dict(form.fields) | {"override": "on"}).status == 403
    assert bed.claim() is None
    page = _plan(dashboard, visitor.get(_path(dashboard)), "Redeploy…")
    action = page.submit("Redeploy now, in spite of the hold")
    assert "It ignores holds and freeze windows." in action.text and not action.find("h2", "Holds")
    assert bed.claimed().action.deliveries in (0, 2)
    assert "Redeploys are held" in visitor.get(_path(dashboard)).text


def test_a_freeze_window_is_shown_and_can_be_passed(dashboard: DashboardBed, visitor: Visitor) -> None:
    new = NewFreezeWindow(begins="2025-12-24", ends="2026-01-07", reason="holidays", service_uuid=_uuid(dashboard))
    dashboard.bed.store.add_freeze_window(dashboard.bed.admin, new)
    page = visitor.get(_path(dashboard))
    assert "A freeze window holds redeploys: holidays. It ends in 6 days, at 2026-01-07 00:00:00 UTC." in page.text
    assert not page.find("button", "Resume")
    page = _plan(dashboard, page, "Redeploy…")
    assert "A freeze window holds redeploys: holidays." in page.text
    held = page.submit("Redeploy now")
    assert "Freeze window" in find_card(held, "Holds").text and not held.find("button", "Resume the service")
    with dashboard.answering({"plan": PLAN}):
        page = held.follow("Redeploy anyway…")
    assert page.submit("Redeploy now, in spite of the hold").path == held.path
    assert dashboard.bed.claimed().action.uuid == held.path.split("/")[2]


@pytest.mark.parametrize("scope", [Scope.READ, Scope.CALL, Scope.OPERATE])
def test_who_may_not_operate_sees_holds_and_images_without_buttons(
    dashboard: DashboardBed, visitor: Visitor, scope: Scope
) -> None:
    _hold(dashboard, calls=1)
    other = dashboard.visit_with_scope(scope)
    page, overview = other.get(_path(dashboard)), other.get("/")
    assert "Redeploys are held" in page.text and "Running" in find_card(page, "Images").text
    for shown in (page.find("button", "Resume"), page.find("button", "Hold the redeploys")):
        assert bool(shown) == scope.includes(Scope.OPERATE)
    for link in ("Roll back…", "Roll back to image 1"):
        assert bool(page.find("a", link)) == scope.includes(Scope.OPERATE)
    assert bool(overview.find("button", "Resume web")) == scope.includes(Scope.OPERATE)
    member = dashboard.visit("bob", is_admin=False)
    assert member.get(_path(dashboard)).status == 404 and not member.get("/").find("h2", "Held")
    csrf = member.get("/account/").form("Sign out").csrf
    for below in ("hold/", "resume/", "rollback/", "image/"):
        assert member.get(_path(dashboard, below)).status in (404, 405)
        assert member.post(_path(dashboard, below), {"csrf": csrf}).status in (404, 405)


@pytest.mark.usefixtures("visitor")
def test_an_open_page_of_a_service_notices_its_hold(dashboard: DashboardBed) -> None:
    store, service = dashboard.bed.store, dashboard.bed.service_uuid("web")
    before = store.revisions([service])
    _hold(dashboard)
    held = store.revisions([service])
    store.resume(dashboard.bed.admin, service)
    assert before != held != store.revisions([service])


def test_a_handler_can_roll_back(dashboard: DashboardBed, visitor: Visitor) -> None:
    page = visitor.get(_path(dashboard, "handler/new/"))
    made = page.submit("Create the handler", operation="ROLLBACK", rollback_hold="off")
    assert "The handler is created." in made.alert and "before the present one" in find_card(made, "What is set").text
    edit = made.follow("Edit")
    assert "Rolls back web" in edit.text and not edit.find("div", id="p-skip_unchanged")


def test_an_alert_is_connected_to_a_rollback(dashboard: DashboardBed, visitor: Visitor) -> None:
    page = visitor.get(_path(dashboard, "connect/?sender=alertmanager"))
    made = page.submit("Create the URL", operation="ROLLBACK", name="alerts")
    assert made.status == 200, made.text
    (handler,) = dashboard.bed.store.handlers(dashboard.bed.admin, _uuid(dashboard), query()).objects
    assert (handler.operation, "filter" in handler.options) == (Operation.ROLLBACK, True)
