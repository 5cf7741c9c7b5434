"""The page of an action that waits, or that ended before it did anything."""

import pytest

from tests.support.dashboard_bed import DashboardBed
from tests.support.pages import Page, Visitor
from tests.support.stores import snapshot
from tutumd.model import Origin, Outcome, Verb


def open_action(dashboard: DashboardBed, uuid: str) -> Page:
    page = dashboard.visit().get(f"/action/{uuid}/")
    assert page.status == 200, page.text
    return page


def test_it_says_what_an_action_waits_for_however_many_newer_ones_its_service_has(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    handler = bed.handler("web")
    bed.call(handler)
    bed.claimed()
    waiting = bed.call(handler)
    origin = Origin(address="", user_agent="")
    for target in range(21):
        bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.SCALE, target=target, origin=origin)
    (step,) = open_action(dashboard, waiting).find("li", aria_current="step")
    assert "waiting for the action that runs on its service" in step.text


@pytest.mark.slow
def test_it_names_the_users_who_asked_for_an_action_to_those_who_may_know(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    ann, bob = dashboard.visit("ann", is_admin=False), dashboard.visit("bob")
    bed.sync(snapshot("web", owner="ann"))
    called = bed.call(bed.handler("web"))
    assert "Requested by" not in open_action(dashboard, called).text
    bed.finish(bed.claimed())
    page, joined = (_redeploy(visitor, bed.service_uuid("web")) for visitor in (ann, bob))
    assert joined.path == page.path
    bed.clock.move(60)
    bed.finish(bed.claimed())
    bed.clock.move(60)
    assert "Requested by bob" in _redeploy(bob, bed.service_uuid("web")).text
    assert "Requested by ann, bob" in bob.get(page.path).text
    assert "Requested by ann From" in ann.get(page.path).text


def _redeploy(visitor: Visitor, service: str) -> Page:
    return visitor.post(f"/service/{service}/redeploy/", {"csrf": visitor.get("/account/").form("Sign out").csrf})


def test_a_failed_redeploy_shows_the_image_that_failed(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    action = bed.call(bed.handler("web"))
    before, tried = (f"sha256:{digit * 64}" for digit in "ab")
    outcome = Outcome(success=False, image_before=before, image_after=before, image_tried=tried)
    bed.queue.finish(bed.claimed(), outcome, None)
    assert bed.store.action(bed.admin, action).image_tried == tried
    page = open_action(dashboard, action)
    assert "Image that failed" in page.text
    assert tried[7:19] in page.text
