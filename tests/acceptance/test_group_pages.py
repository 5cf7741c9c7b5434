"""Pages of groups: the form, a group with its URL and its calls, the page of a call, and Connect."""

from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from tests.support.dashboard_bed import DashboardBed, find_card
from tests.support.pages import Page, Visitor
from tests.support.stores import ENGINE, ORIGIN, snapshot
from tests.support.waiting import wait_until
from tutumd.errors import NotFoundError, Reason
from tutumd.model import Call, Evaluation, EvaluationNeeded, Query, Scope
from tutumd.model.groups import GroupAccepted
from tutumd.ports.intake import CallResult


@pytest.fixture
def visitor(dashboard: DashboardBed) -> Visitor:
    """Sign in to an installation with a stack of two services, and one service beside it."""
    shop = [replace(snapshot(name), stack="shop", image_name=f"ghcr.io/me/{name}:1") for name in ("web", "db")]
    dashboard.bed.sync(*shop, snapshot("alone"))
    return dashboard.visit()


def make(visitor: Visitor, **fields: Any) -> Page:
    """Make a group of the stack, and return its page."""
    chosen: dict[str, Any] = {"name": "all", "stack": "docker/shop"} | fields
    page = visitor.get("/groups/new/").submit("Create the group", **chosen)
    assert page.status == 200, page.text
    return page


def url_of(page: Page) -> str:
    return page.submit("Show the URL").copies["Copy the URL"]


def call(dashboard: DashboardBed, url: str, evaluation: Evaluation | None = None) -> CallResult:
    """Call a group, and return the result."""
    assert url.startswith(f"{dashboard.url}/api/v1/webhook/group/")
    results: Future[CallResult] = Future()
    sent = Call(service_uuid="", handler_uuid=url.split("/")[-3], amount=1, origin=ORIGIN, body_size=0)
    sent = replace(sent, evaluation=evaluation)
    dashboard.bed.intake.store([sent], lambda stored: results.set_result(stored[0]))
    return results.result(60)


def test_a_group_is_made_shown_changed_and_revoked(dashboard: DashboardBed, visitor: Visitor) -> None:
    assert "There is no group yet." in visitor.get("/services/").follow("Groups").text
    page = make(visitor, sequence="depends_on")
    assert page.alert.startswith("The group is created.")
    assert "services of the stack shop on docker" in page.text
    assert "each service after the services that it depends on. If one fails" in page.text
    url = url_of(page)
    assert url.split("/")[-3] not in page.html + visitor.get("/groups/").html
    typed: dict[str, Any] = {
        "stack": "",
        "services": "db\nweb",
        "sequence": "listed",
        "on_failure": "continue",
        "debounce": "30",
    }
    changed = page.follow("Edit").submit("Save", **typed)
    assert changed.alert == "The change is saved. It applies from the next call on."
    assert [each.text for each in find_card(changed, "Services").find("li")] == ["shop/db", "shop/web"]
    assert "one after the other, as listed. If one fails" in changed.text and "30 seconds" in changed.text
    same = changed.follow("Edit").submit("Save")
    assert same.alert == "Nothing was different, so nothing is changed."
    assert isinstance(call(dashboard, url), EvaluationNeeded)  # it has a debounce
    refused = same.follow("Edit").submit("Save", services="nobody")
    assert (refused.status, "nobody" in refused.alert) == (404, True)
    rotated = same.submit("Make a new URL", grace="0")
    assert rotated.alert == "The group has a new URL. Show it and give it to the sender."
    assert isinstance(call(dashboard, url), NotFoundError)
    assert isinstance(call(dashboard, url_of(rotated)), EvaluationNeeded)
    disabled = rotated.submit("Disable")
    assert "Calls get a 404 until you enable the group." in disabled.text
    assert disabled.submit("Enable").alert == "The group is enabled: calls count again."
    gone = rotated.submit("Revoke it")
    assert (gone.path.partition("?")[0], gone.alert) == (
        "/groups/",
        "The group is revoked: its URL returns 404, for good.",
    )
    assert visitor.get(page.path).status == 404


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ({"stack": ""}, "name one of services, stack and match"),
        ({"image": "ghcr.io/me/*"}, "name one of services, stack and match"),
        ({"stack": "", "services": "nobody"}, "nobody"),
        ({"stack": "", "services": "web, web"}, "twice"),
        ({"stack": "docker/none"}, "none"),
        ({"sequence": "listed"}, "sequence can be listed only with services"),
        ({"stack": "", "image": "g" * 2000}, "match.image"),
        ({"rate_limit": "many"}, "rate_limit"),
    ],
)
def test_bad_input_keeps_what_was_typed(
    dashboard: DashboardBed, visitor: Visitor, typed: dict[str, Any], error: str
) -> None:
    fields: dict[str, Any] = {"name": "bad", "stack": "docker/shop", "on_failure": "continue"} | typed
    page = visitor.get("/groups/new/").submit("Create the group", **fields)
    assert (page.status, error in page.alert) == (404 if error == "nobody" else 400, True), page.alert
    again = dict(page.form("Create the group").fields)
    assert {name: again[name] for name in fields} == fields
    assert "There is no group yet." in visitor.get("/groups/").text


def test_every_link_on_the_pages_of_a_new_group_works(visitor: Visitor) -> None:
    page = make(visitor)
    pages = [
        page,
        page.submit("Show the URL"),
        page.follow("All deliveries"),
        visitor.get("/groups/"),
        page.follow("Edit"),
    ]
    places = {link.attributes["href"] for each in pages for link in each.find("main")[0].find("a")}
    assert {place: visitor.get(place).status for place in places} == dict.fromkeys(places, 200)


def test_a_form_that_is_sent_twice_makes_one_group_and_one_url(dashboard: DashboardBed, visitor: Visitor) -> None:
    new = visitor.get("/groups/new/")
    first, second = (new.submit("Create the group", name="all", stack="docker/shop") for _ in range(2))
    assert first.path == second.path
    urls = []
    for _ in range(2):
        first.submit("Make a new URL", grace="1d")
        urls.append(url_of(first))
    assert urls[0] == urls[1]


def test_the_page_of_a_call_has_a_line_for_each_service(dashboard: DashboardBed, visitor: Visitor) -> None:
    group = make(visitor)
    alone = dashboard.bed.call(dashboard.bed.handler("db"))
    assert isinstance(call(dashboard, url_of(group)), GroupAccepted)
    page = group.visitor.get(group.path).follow("#1")
    assert page.path == "/groupcall/1/"
    rows = {row.find("td")[0].text: row for row in find_card(page, "Services").find("tr")[1:]}
    assert "Pending" in rows["shop/web"].text and "joined" not in rows["shop/web"].text
    assert "It joined an action that was already waiting." in rows["shop/db"].text
    assert rows["shop/db"].find("a", "Pending")[0].attributes["href"] == f"/action/{alone}/"
    assert page.find("span", **{"data-every": "2"}), "the page follows its actions"

    def unchanged() -> str | None:  # the server reads what has changed at most once a second
        tag = str(visitor.get(page.path).find("div", id="live")[0].attributes["data-etag"])
        return tag if visitor.send("GET", page.path, HX_Request="true", If_None_Match=tag).status == 304 else None

    tag = wait_until(unchanged, "the page is as it was")
    for success in (True, False):
        dashboard.bed.finish(dashboard.bed.claimed(), success=success)
    dashboard.bed.clock.move(10)

    def changed() -> Page | None:
        part = visitor.get_part(page.path, If_None_Match=tag)
        return part if part.status == 200 else None

    ended = wait_until(changed, "the page has changed")
    assert "1 succeeded, 1 failed" in ended.text or "1 failed, 1 succeeded" in ended.text
    assert ended.find("span", **{"data-every": "0"})
    action = visitor.get(f"/action/{alone}/")
    assert action.follow("#1 of all").path == page.path
    assert action.follow("of all").path == group.path.partition("?")[0]
    delivery = visitor.get(group.path).follow("All deliveries").find("td", **{"data-label": "Received"})[0]
    shown = visitor.get(delivery.find("a")[0].attributes["href"])
    assert "test" in shown.text and "let its sender send it again" in shown.text
    assert shown.follow("The call of the group").path == page.path
    visitor.get(group.path).submit("Revoke it")
    assert "Call #1 of all" in visitor.get(page.path).text


def test_pages_of_deliveries_show_the_calls_that_they_have_made(dashboard: DashboardBed, visitor: Visitor) -> None:
    group = make(visitor)
    url = url_of(group)
    assert all(isinstance(call(dashboard, url), GroupAccepted) for _ in range(2))
    group.submit("Disable")
    found = call(dashboard, url)
    assert isinstance(found, EvaluationNeeded)
    call(dashboard, url, Evaluation(version=found.version, refuse=Reason("disabled")))  # at the same time of the clock
    cells = visitor.get(f"{group.path.partition('?')[0]}deliveries/").find("td", **{"data-label": "Received"})
    pages = [visitor.get(each.find("a")[0].attributes["href"]) for each in cells]
    assert [page.html.count("/groupcall/") for page in pages] == [0, 2, 2], pages[1].text


def test_a_line_without_a_visible_action_is_not_called_skipped(dashboard: DashboardBed, visitor: Visitor) -> None:
    assert isinstance(call(dashboard, url_of(make(visitor))), GroupAccepted)
    dashboard.bed.sync(replace(snapshot("web"), stack="other"), replace(snapshot("db"), stack="shop"))
    page = dashboard.visit("of-stack", stack="shop").get("/groupcall/1/")
    assert "deleted, or no longer yours" in page.text and "1 unknown" in page.text, page.text
    assert "Skipped" not in page.text


@pytest.mark.parametrize("name", ["--help", " "])
def test_commands_name_a_group_only_if_they_find_it(visitor: Visitor, name: str) -> None:
    assert "tutum webhook-group rm GROUP  # its UUID is in: tutum webhook-group list" in make(visitor, name=name).html
    assert "tutum webhook-group rm one" in make(visitor, name="one").html


def test_the_form_names_services_of_one_name_by_their_uuids(dashboard: DashboardBed, visitor: Visitor) -> None:
    assert dashboard.bed.queue.sync(replace(ENGINE, name="other"), [snapshot("alone")], revisions={})
    services = dashboard.bed.store.services(dashboard.bed.admin, Query()).objects
    uuids = [each.uuid for each in services if each.full_name == "alone"]
    page = make(visitor, stack="", services="\n".join(uuids))
    saved = page.follow("Edit").submit("Save", services="\n".join([*uuids, "web"]))
    typed = dict(saved.follow("Edit").form("Save").fields)["services"]
    assert typed.split() == [*uuids, "shop/web"]


def test_the_page_of_a_follower_says_what_it_waits_for(dashboard: DashboardBed, visitor: Visitor) -> None:
    group = make(visitor, stack="", services="web\ndb", sequence="listed")
    assert isinstance(call(dashboard, url_of(group)), GroupAccepted)
    page = visitor.get("/groupcall/1/")
    waits = "waits for shop/web of group call 1"
    (row,) = (each for each in page.find("tr") if each.find("a", "shop/db"))
    assert waits in row.text
    action = visitor.get(row.find("a", "Pending")[0].attributes["href"])
    assert waits in find_card(action, "Holds").text
    assert "when the actions before it have ended" in find_card(action, "Holds").text
    assert action.follow("#1 of all").path == page.path


def test_pages_of_services_name_the_group_as_the_caller(dashboard: DashboardBed, visitor: Visitor) -> None:
    group = make(visitor)
    call(dashboard, url_of(group))
    dashboard.bed.finish(dashboard.bed.claimed())
    for path in (f"/service/{dashboard.bed.service_uuid('web')}/", "/", "/audit/"):
        page = visitor.get(path)
        link = page.find("a", "all") or page.find("a", "group 1")
        assert link and link[0].attributes["href"] == "/groups/1/", path


def test_a_trial_predicts_what_a_call_of_the_group_would_do(dashboard: DashboardBed, visitor: Visitor) -> None:
    page = make(visitor, **{"filter.branch.branch": "main"}).follow("Try it")
    body = '{"ref": "refs/heads/main", "commits": [{}]}'
    tried = page.submit("Try this payload", body=body, headers="X-GitHub-Event: push")
    assert "It redeploys services of the stack shop on docker." in tried.text


def test_others_see_no_group_and_scopes_limit_buttons(dashboard: DashboardBed, visitor: Visitor) -> None:
    path = make(visitor).path.partition("?")[0]
    call(dashboard, url_of(visitor.get(path)))
    ann = dashboard.visit("ann", is_admin=False)
    assert "There is no group yet." in ann.get("/groups/").text
    for each in (path, f"{path}edit/", "/groupcall/1/"):
        assert ann.get(each).status == 404, each
    reader = dashboard.visit_with_scope(Scope.READ).get(path)
    assert not {each.label for each in reader.find("button")} & {"Show the URL", "Revoke it", "Make a new URL"}
    caller = dashboard.visit_with_scope(Scope.CALL).get(path)
    assert caller.find("button", "Show the URL") and not caller.find("button", "Revoke it")
    narrow = dashboard.visit("narrow", service_uuid=dashboard.bed.service_uuid("web"))
    assert narrow.get(path).status == 404
    refused = narrow.get("/groups/new/").submit("Create the group", name="x", stack="docker/shop")
    assert (refused.status, "only: use another key" in refused.alert) == (403, True)
    of_stack = dashboard.visit("of-stack", stack="shop")
    assert make(of_stack, name="mine").status == 200
    assert "mine" in of_stack.get("/groups/").text


@pytest.mark.parametrize(
    ("sender", "reach", "told"),
    [
        ("ghcr", "image", "services that run the pushed image, if it matches ghcr.io/me/web"),
        ("ghcr", "stack", "services of the stack shop on docker"),
        ("gitlab-ci", "stack", "services of the stack shop on docker"),
    ],
)
def test_connect_makes_a_group_of_an_image_or_a_stack(
    dashboard: DashboardBed, visitor: Visitor, sender: str, reach: str, told: str
) -> None:
    form = visitor.get(f"/service/{dashboard.bed.service_uuid('web')}/connect/?sender={sender}")
    made, again = (form.submit("Create the URL", reach=reach) for _ in range(2))
    assert made.status == 200 and "/api/v1/webhook/group/" in made.html, made.text
    if sender == "ghcr":
        assert "Secret" in made.copies and "Secret" not in again.copies
    assert told in made.follow("Watch the first call arrive").text
    assert len(visitor.get("/groups/").find("tr")) == 2


def test_connect_offers_groups_only_where_they_can_work(dashboard: DashboardBed, visitor: Visitor) -> None:
    web, alone = (f"/service/{dashboard.bed.service_uuid(name)}/connect/?sender=" for name in ("web", "alone"))
    for address, offered in ((f"{web}github", 0), (f"{web}quay", 3), (f"{web}curl", 2), (f"{alone}curl", 0)):
        options = [
            each for select in visitor.get(address).find("select", name="reach") for each in select.find("option")
        ]
        assert len(options) == offered, address
    refused = visitor.get(f"{web}curl").submit("Create the URL", reach="stack", operation="SCALEUP")
    assert (refused.status, "choose redeploy, or only this service" in refused.text) == (400, True)
