"""Pages name who called with an identity token."""

from tests.support.dashboard_bed import DashboardBed
from tutumd.model import Caller, Evaluation

WHO = "me/<b>shop</b>@main, run 123, by ada"
CALLER = Caller(
    repository="me/<b>shop</b>",
    ref="refs/heads/main",
    sha="1f0d4a3c9e6b2d85c7a0f4e1b3d6a9c2e5f80714",
    actor="ada",
    run="123",
    workflow="me/shop/.github/workflows/deploy.yml@refs/heads/main",
)


def test_pages_of_delivery_and_action_and_the_feed_name_the_caller(dashboard: DashboardBed) -> None:
    bed, visitor = dashboard.bed, dashboard.visit()
    bed.show("web")
    handler = bed.handler("web")
    accepted = bed.accepted(handler, Evaluation(version=0, caller=CALLER))
    action = visitor.get(f"/action/{accepted.action_uuid}/")
    assert [fact.text for fact in action.find("dt", "Called by")] == ["Called by"]
    assert action.text.count(WHO) == 2, "as a fact and at its call"
    delivery = visitor.get(f"/service/{handler.service_uuid}/handler/{handler.number}/delivery/1/")
    for text in (WHO, CALLER.workflow, CALLER.sha):
        assert text in delivery.text
    feed, log = visitor.get("/"), visitor.get("/audit/")
    assert WHO in feed.text
    assert "action called" in log.text.lower() and WHO in log.text
    assert "identity token (API)" in log.text
    assert not any(page.find("b", "shop") for page in (action, delivery, feed, log)), "texts of tokens are text"
