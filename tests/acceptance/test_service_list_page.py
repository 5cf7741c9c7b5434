"""The list of services: filters in the address, pages, and whose services are shown."""

from dataclasses import replace
from datetime import timedelta

from tests.support.dashboard_bed import DashboardBed
from tests.support.pages import Page
from tests.support.stores import ENGINE, snapshot
from tutumd.model import ContainerState


def _names(page: Page) -> list[str]:
    return [cell.find("a")[0].text for cell in page.find("td", data_label="Service")]


def _fill(dashboard: DashboardBed) -> None:
    api = snapshot("api")
    stopped = tuple(replace(each, state=ContainerState.STOPPED) for each in api.containers)
    dashboard.bed.sync(
        replace(snapshot("web"), stack="shop", image_name="ghcr.io/acme/web:latest"),
        replace(api, containers=stopped, stopped=True),
        replace(snapshot("db"), stack="shop", image_name="postgres:17", warnings=("its volume is full",)),
    )


def test_services_are_listed_by_name_with_what_matters(dashboard: DashboardBed) -> None:
    _fill(dashboard)
    page = dashboard.visit().get("/services/")
    assert _names(page) == ["api", "shop/db", "shop/web"]
    row = page.find("a", "shop/db")[0].ancestor("tr")
    assert row and "Running 2 / 2 postgres:17 docker" in row.text
    assert row.find("a", title="its volume is full")


def test_a_state_filters_and_keeps_the_search(dashboard: DashboardBed) -> None:
    _fill(dashboard)
    page = dashboard.visit().get("/services/")
    page = page.submit("Filter", stack="shop")
    assert "stack=shop" in page.path
    assert _names(page) == ["shop/db", "shop/web"]
    page = page.follow("Running 2")
    assert "stack=shop" in page.path
    page = page.submit("Filter", search="POSTGRES")
    assert _names(page) == ["shop/db"], "the state stays, and the search is for images, too"
    page = page.follow("All 1")
    assert "state=" not in page.path
    page = page.submit("Filter", search="", stack="-")
    assert (_names(page), page.find("option", value="-")[0].text) == (["api"], "No stack")
    assert _names(page.follow("Stopped 1")) == ["api"]


def test_wrong_filters_say_what_is_wrong(dashboard: DashboardBed) -> None:
    visitor = dashboard.visit()
    page = visitor.get("/services/?state=Sleeping")
    assert page.status == 400 and "there is no state 'Sleeping'" in page.text
    for name in ("search", "stack", "engine", "after"):
        assert visitor.get(f"/services/?{name}=a%00b").status == 400
    for odd in ("?after=x", "?engine=%27", "?stack=%F0%28", "?unknown=1"):
        assert visitor.get(f"/services/{odd}").status == 200


def test_a_member_sees_only_what_is_theirs(dashboard: DashboardBed) -> None:
    dashboard.bed.store.add_user("ann", is_admin=False)
    dashboard.bed.sync(snapshot("of-ann", owner="ann"), replace(snapshot("secret"), stack="hidden"))
    visitor = dashboard.visit("bob", is_admin=False)
    page = visitor.get("/services/")
    assert not _names(page) and "There are no services yet." in page.text
    overview = visitor.get("/")
    assert "tutum.owner=bob" in overview.text
    for shown in (page, overview, visitor.get("/services/?search=secret")):
        assert "of-ann" not in shown.html and "hidden" not in shown.find("main")[0].text


def test_gone_services_are_removed_together(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    of_shop = [replace(snapshot(name), stack="shop", owner="ann") for name in ("web", "db", "job")]
    bed.sync(*of_shop, snapshot("api"), snapshot("late"))
    visitor, member = dashboard.visit(), dashboard.visit("bob", is_admin=False)
    assert not visitor.get("/services/?state=Gone").find("button", "Remove all")
    bed.call(bed.handler("job"))
    claim = bed.claimed()
    bed.sync(snapshot("late"))
    bed.clock.move(5)
    page = visitor.get("/services/?state=Gone&stack=shop")
    assert not member.get("/services/?state=Gone").find("button", "Remove all")
    bed.clock.move(5)
    bed.sync()
    page = page.submit("Remove 3 services")
    assert (page.alert[:27], _names(page)) == ("Some gone services remain: ", ["shop/job"])
    assert page.path.startswith("/services/?state=Gone&stack=shop")
    bed.finish(claim)
    page = page.submit("Remove 1 service")
    assert page.alert == "The gone services are removed, and their handlers are revoked."
    assert _names(visitor.get("/services/?state=Gone")) == ["api", "late"]
    seen = visitor.get("/services/?state=Gone").form("Remove 2 services")
    bed.sync(snapshot("api"))
    early = dict(seen.fields) | {"seen": (bed.clock() - timedelta(seconds=6)).isoformat()}
    assert visitor.post(seen.address, early).status == 200
    assert _names(visitor.get("/services/?state=Gone")) == ["late"], "it was not gone yet when the page was rendered"
    for text, status in (("x", 400), ("0001-01-01T00:00:00+14:00", 200)):
        assert visitor.post(seen.address, early | {"seen": text}).status == status
    told = [entry.service_name for entry in bed.store.audit(bed.admin).entries if entry.what == "service forgotten"]
    assert sorted(told) == ["shop/db", "shop/job", "shop/web"]


def test_a_script_gets_the_changing_part_alone(dashboard: DashboardBed) -> None:
    _fill(dashboard)
    page = dashboard.visit().get("/services/", HX_Request="true")
    assert _names(page) and not page.find("html") and not page.find("form")
    assert ENGINE.name in page.text
