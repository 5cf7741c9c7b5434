"""Pages whose names, labels and reasons are as long as they may be, and of which there are many."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.page_routes import FOR_ALL, page_routes
from tests.support.browser import Browser, Screen, sign_in
from tests.support.dashboard_bed import KEY, DashboardBed, serve_dashboard
from tests.support.stores import StoreBed, open_store, snapshot
from tutumd.model import ContainerSnapshot, ContainerState, NewHandler, Operation, Outcome, ServiceSnapshot

NAME = "n" * 255
TEXT = "t" * 400
LONG = Outcome(success=False, reason="the new container of shop-web-1 ended with exit code 1 before it was healthy")
SIZES = (Screen(width=360, height=740), Screen(width=1440, height=900))


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[DashboardBed]:
    with open_store(f"sqlite:///{tmp_path / 'test.db'}") as bed, serve_dashboard(bed) as served:
        yield served


@pytest.mark.nightly
def test_no_page_scrolls_sideways_whatever_the_names(browser: Browser, dashboard: DashboardBed) -> None:
    addresses = fill(dashboard.bed)
    dashboard.visit()
    page = browser.open(dashboard.url, SIZES[-1])
    sign_in(page, "root", f"{KEY}root")
    found = []
    for address in addresses:
        page.goto(address)
        for screen in SIZES:
            page.set_viewport_size({"width": screen.width, "height": screen.height})
            width = page.evaluate("document.documentElement.scrollWidth")
            found += [f"{address}: {width} px of {screen.width}"] if width > screen.width else []
    assert not found, "\n".join(found)


BROKEN = """() => {
  const codes = [...document.querySelectorAll("main :is(code, .mono, .nowrap, td a, .state span, time)")]
  const lines = each => {
    const range = document.createRange()
    range.selectNodeContents(each)
    return new Set([...range.getClientRects()].map(line => Math.round(line.top))).size
  }
  return codes.map(each => [each, each.textContent.trim()])
    .filter(([each, text]) => text.length <= 14 && !each.children.length && each.checkVisibility() && lines(each) > 1)
    .map(([, text]) => text)
}"""


@pytest.mark.slow
def test_short_codes_stay_on_one_line_on_a_phone(browser: Browser, dashboard: DashboardBed) -> None:
    bed, image = dashboard.bed, f"sha256:{'a' * 64}"
    bed.sync(replace(snapshot("web"), stack="shop", image_name="registry.example.com:5000/team/app:v1"))
    new = NewHandler(operation=Operation.REDEPLOY, name="v1", options={"tag": {"allow": ["v1"], "from": "query"}})
    (handler,) = bed.store.add_handlers(bed.admin, bed.service_uuid("web"), [new])
    actions = []
    for state in (Outcome(success=True, image_before=image, image_after=image.replace("a", "b")), LONG, LONG, None):
        actions.append(bed.accepted(handler, replace(bed.evaluate(handler), tag="v1")).action_uuid)
        if state is not None:
            bed.queue.finish(bed.claimed(), state, None)
    dashboard.visit()
    page = browser.open(dashboard.url, SIZES[-1])
    sign_in(page, "root", f"{KEY}root")
    at = f"/service/{handler.service_uuid}/"
    found = []
    for address in ("/", "/services/", at, f"{at}handler/{handler.number}/", f"/action/{actions[0]}/", f"{at}connect/"):
        page.goto(address)
        for width in (390, 360):
            page.set_viewport_size({"width": width, "height": 844})
            found += [f"{address} at {width} px: {code}" for code in page.evaluate(BROKEN)]
    assert not found, "\n".join(found)


def fill(bed: StoreBed) -> list[str]:
    """Make a service with long names and much of everything, and return the addresses of its pages."""
    containers = tuple(
        ContainerSnapshot(id=f"{number:064x}", name=f"{number}-{NAME}", state=ContainerState.RUNNING, image_name=TEXT)
        for number in range(500)
    )
    service = ServiceSnapshot(
        selector="name:long",
        name=NAME,
        stack=NAME,
        target=500,
        containers=containers,
        image_name=TEXT,
        settings=tuple((f"tutum.{number}.{NAME}", TEXT) for number in range(40)),
        warnings=(TEXT,),
        notes=(TEXT,),
    )
    bed.sync(service)
    new = [NewHandler(operation=Operation.REDEPLOY, name=f"{number}{NAME}"[:255], options={}) for number in range(60)]
    handlers = bed.store.add_handlers(bed.admin, bed.service_uuid(NAME), new)
    action = bed.call(handlers[0])
    outcome = Outcome(success=False, reason=TEXT, log_tail=TEXT, image_before=f"sha256:{'a' * 64}")
    bed.queue.finish(bed.claimed(), outcome, None)
    (delivery,) = bed.deliveries(handlers[0])
    values = {
        "service_uuid": handlers[0].service_uuid,
        "number": handlers[0].number,
        "action_uuid": action,
        "delivery_number": delivery.number,
    }
    pages = [route for route in page_routes() if route.method == "GET" and route.path not in FOR_ALL]
    return [route.fill(values) for route in pages if not re.search(r"/log/|/running/", route.path)]
