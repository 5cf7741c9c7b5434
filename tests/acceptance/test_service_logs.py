"""The logs of a service on its page: the last lines, a search, a time, and new lines for scripts."""

from datetime import timedelta
from urllib.parse import unquote, urlencode

from tests.support.dashboard_bed import DashboardBed
from tests.support.pages import Page, Visitor
from tutumd.model import LINES_MISSING
from tutumd.web.followers import MAX_FOLLOWERS_OF_USER

TEXT = "web-1 | one\nweb-1 | <script>Two</script>\nweb-2 | \n"


def _open(dashboard: DashboardBed, visitor: Visitor, path: str = "", text: str = TEXT, **position: str) -> Page:
    with dashboard.answering({"logs": {"text": text, "position": position}}):
        page = visitor.get(f"/service/{dashboard.bed.service_uuid('web')}/logs/{path}")
    assert page.status == 200, page.text
    return page


def _lines(page: Page) -> list[str]:
    return [line.text for line in page.find("p") if line.text.startswith("web-")]


def test_lines_are_text_and_can_be_searched(dashboard: DashboardBed) -> None:
    dashboard.bed.show("web")
    visitor = dashboard.visit()
    page = _open(dashboard, visitor, "?tail=100")
    assert _lines(page) == ["web-1 | one", "web-1 | <script>Two</script>", "web-2 |"]
    assert not page.find("div", id="output")[0].attributes.keys() & {"hx-get", "data-after"}, "nobody follows it yet"
    assert visitor.get(f"{page.path}0000000").status == 400
    with dashboard.answering({"logs": {"text": TEXT, "position": {}}}):
        found = page.submit("Search", search="two")
    assert (_lines(found), "tail=100" in found.path) == (["web-1 | <script>Two</script>"], True)
    assert "No line contains this text." in _open(dashboard, visitor, "?search=three").text
    assert "The containers have written nothing." in _open(dashboard, visitor, text="").text
    with dashboard.answering({"error": "the engine said <b>no</b>"}):
        refused = visitor.get(page.path)
    assert "the engine said <b>no</b>" in refused.text and not refused.find("b")


def test_lines_can_be_limited_to_a_period(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    visitor = dashboard.visit()
    path = f"/service/{bed.service_uuid('web')}/logs/?since=1h&tail=9"
    with dashboard.answering({"logs": {"text": TEXT, "position": {}}}) as asked:
        page = visitor.get(path)
    since = f"{bed.clock() - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    assert asked[0].arguments == {"lines": 9, "after": {"since": since}}
    assert "selected" in page.find("option", value="1h")[0].attributes
    assert "tutum service logs web --tail 9 --since 1h" in page.text
    assert visitor.get(f"{path}x").status == visitor.get(path.replace("1h", "x")).status == 400
    with dashboard.answering({"invalid": "this engine stores no times"}):
        assert "There are no logs: this engine stores no times" in visitor.get(path).text


def test_scripts_get_new_lines_after_a_cursor(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    visitor = dashboard.visit()
    still = _open(dashboard, visitor, "?search=o", web="5")
    with dashboard.answering({"logs": {"text": TEXT, "position": {"web": "5"}}}):
        page = still.follow("Follow")
    assert page.find("a", "Stop following")[0].attributes["href"].endswith("?tail=300&search=o")
    (output,) = page.find("div", id="output")
    assert output.attributes["role"] == "log"
    cursor = output.attributes["data-after"]
    address = f"{page.path}&{urlencode({'after': cursor})}"
    written = f"{LINES_MISSING}\nweb-1 | x\nweb-1 | tWo\n"
    with dashboard.answering({"logs": {"text": written, "position": {"web": "7"}}}) as asked:
        part = visitor.send("GET", address, HX_Request="true")
    assert asked[0].arguments == {"lines": 1000, "after": {"web": "5"}}
    assert (_lines(part), part.find("html")) == (["web-1 | tWo"], [])
    assert part.find("p", LINES_MISSING), "whatever is searched for"
    following = part.find("span", hidden="")[0].attributes["data-next"]
    assert following.partition(".")[0] == cursor.partition(".")[0] and following != cursor
    assert visitor.send("GET", address, HX_Request="true").status == 429, "within a second"


def test_nothing_new_is_not_sent_and_too_many_followers_are_told(dashboard: DashboardBed) -> None:
    bed = dashboard.bed
    bed.show("web")
    visitor, statuses = dashboard.visit(), []
    for _ in range(MAX_FOLLOWERS_OF_USER):
        cursor = _open(dashboard, visitor, "?follow=1", web="5").find("div", id="output")[0].attributes["data-after"]
        path = f"/service/{bed.service_uuid('web')}/logs/?{urlencode({'after': cursor})}"
        with dashboard.answering({"logs": {"text": "", "position": {"web": "5"}}}):
            statuses.append(visitor.send("GET", path, HX_Request="true").status)
    assert statuses == [204] * MAX_FOLLOWERS_OF_USER
    cursor = _open(dashboard, visitor, "?follow=1", web="5").find("div", id="output")[0].attributes["data-after"]
    path = f"/service/{bed.service_uuid('web')}/logs/?{urlencode({'after': cursor})}"
    refused = visitor.send("GET", path, HX_Request="true")
    assert (refused.status, unquote(refused.headers["x-reason"])) == (
        429,
        f"you follow {MAX_FOLLOWERS_OF_USER} logs already: end one of them first",
    )
    assert visitor.get(f"{path.partition('=')[0]}=x").status == 400
    other = dashboard.visit("bob", is_admin=False)
    assert other.send("GET", path, HX_Request="true").status == 404
