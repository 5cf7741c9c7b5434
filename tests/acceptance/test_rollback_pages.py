"""Pages of rollbacks and holds: images, the plan of a rollback, the hold of a service, and the calls that it holds."""

from dataclasses import replace

import pytest

from tests.support.dashboard_bed import DashboardBed, find_card
from tests.support.history import look, redeploy
from tests.support.pages import Page, Visitor
from tests.support.stores import ENGINE, ORIGIN, query
from tutumd.application.rollbacks import NOT_ROLLED_BACK
from tutumd.model import ActionState, Verb

PLAN = {"refused": "", "order": "start-first", "order_reason": "", "steps": ["pull b"], "notes": ["a note"]}


@pytest.fixture
def visitor(dashboard: DashboardBed) -> Visitor:
    """Sign in to an installation with a service that ran image a, then b, and runs c."""
    dashboard.bed.sync(look("a"))
    redeploy(dashboard.bed, "b", "c")
    return dashboard.visit()


def _path(dashboard: DashboardBed, below: str = "") -> str:
    return f"/service/{dashboard.bed.service_uuid('web')}/{below}"


def _plan(dashboard: DashboardBed, page: Page, link: str) -> Page:
    with dashboard.answering({"plan": PLAN}):
        return page.follow(link)


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


def test_a_handler_can_roll_back(dashboard: DashboardBed, visitor: Visitor) -> None:
    page = visitor.get(_path(dashboard, "handler/new/"))
    made = page.submit("Create the handler", operation="ROLLBACK", rollback_hold="off")
    assert "The handler is created." in made.alert and "before the present one" in find_card(made, "What is set").text
    edit = made.follow("Edit")
    assert "Rolls back web" in edit.text and not edit.find("div", id="p-skip_unchanged")
