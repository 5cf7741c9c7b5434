"""The audit page where entries that match lie far behind others."""

from tests.support.dashboard_bed import DashboardBed


def test_a_page_without_a_match_says_that_older_entries_may_match(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    bed.handler("web")
    columns = "at, user_name, via, credential, address, user_agent, service_name, stack, details"
    with bed.database.write() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO audit (what, {columns}) WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1"
            f" FROM numbers WHERE i < 1100) SELECT 'key made', {columns} FROM numbers, audit WHERE service_name = 'web'"
        )
    page = dashboard.visit().get("/audit/?user=admin&what=handler+created&service_name=web")
    assert "No entry in this part of the log matches these filters. Older ones may." in page.text
    assert "handler created Redeploy" in page.follow("Look through older ones").text
