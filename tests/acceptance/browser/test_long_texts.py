"""Pages whose names, labels and reasons are as long as they may be, and of which there are many."""

from dataclasses import replace

import pytest

from tests.support.browser import Browser, Screen, sign_in
from tests.support.dashboard_bed import KEY, DashboardBed
from tests.support.stores import snapshot
from tutumd.model import NewHandler, Operation, Outcome

LONG = Outcome(success=False, reason="the new container of shop-web-1 ended with exit code 1 before it was healthy")
SIZES = (Screen(width=360, height=740), Screen(width=1440, height=900))

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
