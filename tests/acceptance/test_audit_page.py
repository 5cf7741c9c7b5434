"""The audit page where entries that match lie far behind others."""

from tests.support.dashboard_bed import DashboardBed


def test_a_page_without_a_match_says_that_older_entries_may_match(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    bed.handler("web")
    bed.bury_audit("service_name = 'web'")
    page = dashboard.visit().get("/audit/?user=admin&what=handler+created&service_name=web")
    assert "No entry in this part of the log matches these filters. Older ones may." in page.text
    assert "handler created Redeploy" in page.follow("Look through older ones").text
