"""The scripts of pages in a browser: parts that refresh themselves, times, copying, themes, menus, forms."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from mimetypes import guess_type
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser import Browser
from tests.support.dashboard_bed import template_environment
from tests.support.waiting import wait_until
from tutumd.web.pages.assets import read_asset
from tutumd.web.pages.cookies import SAFETY

ADDRESS = "http://page.localhost"
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
TEMPLATE = """
{% extends "base.html" %}
{% block main %}{{ ui.head("A page") }}<p>{{ ui.time(at) }}</p>{{ ui.copy("text to copy") }}
{{ ui.copy_button("a digest", "Copy the digest") }}
<textarea aria-label="Room to scroll" rows="90"></textarea>{% endblock %}
{% block live %}
<p id="count">count {{ count }}</p>
{{ ui.button("Stop", "/stop", confirm="Everything stops.", command="tutum service stop web") }}
{{ ui.button("Redeploy", "/redeploy", command="tutum service redeploy web") }}
<form>{{ ui.field("typed", "Typed") }}{{ ui.field("long", "Long", type="textarea") }}
{{ ui.field("box", "Box", type="checkbox") }}{{ ui.field("choice", "Choice", type="select", options=["a", "b"]) }}
</form>
<ul>{% for n in range(count, count + 3) %}<li id="row-{{ n }}"><details id="more-{{ n }}"><summary>row {{ n }}</summary>
more of {{ n }}</details></li>{% endfor %}</ul>
{{ ui.every(2) }}
{% endblock %}
"""


@dataclass
class Server:
    """Serves one page, its files and forms, to a browser without a network."""

    count: int = 0
    status: int = 200
    is_away: bool = False
    posted: list[str] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    def serve(self, route: Route) -> None:
        path = route.request.url.removeprefix(ADDRESS)
        if self.is_away:
            route.abort()
        elif path.startswith("/static/"):
            route.fulfill(body=read_asset(path.removeprefix("/static/")), content_type=guess_type(path)[0])
        elif route.request.method == "POST":
            self.posted.append(path)
            route.fulfill(status=204)
        else:
            self._serve_page(route)

    def _serve_page(self, route: Route) -> None:
        headers = route.request.headers
        is_refresh = "hx-request" in headers
        if is_refresh:
            self.asked.append(headers)
        if is_refresh and self.status != 200:
            route.fulfill(status=self.status, body="an error", headers=SAFETY)
        elif headers.get("if-none-match") == f'"{self.count}"':
            route.fulfill(status=304, headers=SAFETY)
        else:
            tag = {"ETag": f'"{self.count}"'}
            body = draw(self.count, is_part=is_refresh)
            route.fulfill(body=body, content_type="text/html", headers=SAFETY | tag)


def draw(count: int, *, is_part: bool) -> str:
    """Return the page, or its part that refreshes itself."""
    environment = template_environment({"page.html": TEMPLATE})
    known: dict[str, Any] = dict.fromkeys(("root", "live_tag", "said"), "")
    known |= {"here": "/", "visitor": None, "csrf": "token", "now": NOW, "version": "1", "count": count}
    known |= {"asset": lambda path: f"/static/{path}", "at": NOW - timedelta(minutes=3)}
    known["ui"] = environment.get_template("macros.html").make_module(known)
    page = environment.get_template("page.html")
    return "".join(page.blocks["live"](page.new_context(known))) if is_part else page.render(known)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def show(browser: Browser, server: Server) -> Callable[..., Page]:
    """Open the page. Its time stands still until a test moves it."""

    def show_page(*, time_zone: str = "UTC") -> Page:
        page = browser.open(ADDRESS, time_zone=time_zone)
        page.route("**/*", server.serve)
        page.clock.install(time=NOW - timedelta(hours=1))
        page.clock.pause_at(NOW)
        page.goto("/")
        return page

    return show_page


def refresh(page: Page, server: Server, *, after_s: int = 2) -> None:
    """Let time pass until the page has asked for its part once more."""
    before = len(server.asked)
    page.clock.run_for(after_s * 1000)

    def has_asked() -> bool:
        page.wait_for_timeout(1)  # also while it leaves the page: Playwright serves what the browser asked for
        return len(server.asked) > before

    wait_until(has_asked, "the page asks for its part")


@pytest.mark.slow
def test_a_refresh_keeps_what_people_typed_opened_and_looked_at(show: Callable[..., Page], server: Server) -> None:
    page = show()
    page.get_by_label("Long").fill("a long text")
    page.get_by_label("Box").check()
    page.get_by_label("Choice").select_option("b")
    page.get_by_text("row 2").click()
    page.get_by_label("Typed").fill("half a wo")
    page.evaluate("() => scrollTo(0, 300)")
    server.count = 1
    refresh(page, server)
    expect(page.locator("#count")).to_have_text("count 1")
    expect(page.get_by_label("Typed")).to_have_value("half a wo")
    expect(page.get_by_label("Typed")).to_be_focused()
    expect(page.get_by_label("Long")).to_have_value("a long text")
    expect(page.get_by_label("Box")).to_be_checked()
    expect(page.get_by_label("Choice")).to_have_value("b")
    expect(page.locator("#more-2")).to_have_attribute("open", "")
    expect(page.locator("#more-3")).not_to_have_attribute("open", "")
    assert page.evaluate("() => scrollY") == 300


def test_what_has_not_changed_is_not_sent_again(show: Callable[..., Page], server: Server) -> None:
    page = show()
    refresh(page, server)
    expect(page.locator("#count")).to_have_text("count 0")
    refresh(page, server)
    assert [headers.get("if-none-match") for headers in server.asked] == [None, '"0"']


def test_a_hidden_tab_asks_for_nothing_until_it_is_seen(show: Callable[..., Page], server: Server) -> None:
    page = show()
    hide = "is => { Object.defineProperty(document, 'hidden', {get: () => is, configurable: true});"
    page.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')) }", True)
    page.clock.run_for(60_000)
    assert server.asked == []
    server.count = 1
    page.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')) }", False)
    expect(page.locator("#count")).to_have_text("count 1")


@pytest.mark.slow
def test_a_page_says_that_it_is_offline_and_asks_less_often(
    show: Callable[..., Page], server: Server, browser: Browser
) -> None:
    page = show()
    server.is_away = True
    page.clock.run_for(2000)
    expect(page.get_by_text("Offline: last updated")).to_be_visible()
    server.is_away, server.count = False, 1
    page.clock.run_for(2000)
    expect(page.locator("#count")).to_have_text("count 0")
    refresh(page, server)
    expect(page.locator("#count")).to_have_text("count 1")
    expect(page.get_by_text("Offline: last updated")).to_be_hidden()
    browser.faults.clear()  # htmx says in the console that the request failed


def test_an_error_does_not_replace_what_is_shown(show: Callable[..., Page], server: Server, browser: Browser) -> None:
    page = show()
    server.status = 503
    refresh(page, server)
    expect(page.get_by_text("Offline: last updated")).to_be_visible()
    expect(page.locator("#count")).to_have_text("count 0")
    browser.faults.clear()


def test_who_is_signed_out_gets_the_whole_page_anew(show: Callable[..., Page], server: Server) -> None:
    page = show()
    page.evaluate("() => { window.isOld = true }")
    server.status = 401
    with page.expect_navigation():
        refresh(page, server)
    assert page.evaluate("() => window.isOld") is None


def test_who_is_signed_out_keeps_what_they_typed(show: Callable[..., Page], server: Server) -> None:
    page = show()
    page.get_by_label("Long").fill("a long text")
    server.status = 401
    refresh(page, server)
    expect(page.get_by_text("You are signed out")).to_be_in_viewport()
    expect(page.get_by_label("Long")).to_have_value("a long text")
    asked = len(server.asked)
    page.clock.run_for(60_000)
    assert len(server.asked) == asked, "signed in again elsewhere, its forms are still of the session that ended"


def test_moments_are_in_the_zone_of_the_reader_and_by_the_clock_of_the_server(show: Callable[..., Page]) -> None:
    page = show(time_zone="Asia/Tokyo")
    moment = page.locator("main time").first
    expect(moment).to_have_text("3 min ago")
    expect(moment).to_have_attribute("title", "4 Mar 2026, 20:57:00 GMT+9")
    page.clock.fast_forward(60_000)
    expect(moment).to_have_text("4 min ago")


@pytest.mark.slow
@pytest.mark.parametrize("has_clipboard", [True, False], ids=["TLS", "no TLS"])
def test_a_button_copies_and_says_so(show: Callable[..., Page], has_clipboard: bool) -> None:
    page = show()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if not has_clipboard:
        page.evaluate(
            """() => { window.kept = navigator.clipboard;
            Object.defineProperty(navigator, 'clipboard', {value: undefined}) }"""
        )
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#said")).to_have_text("Copied")
    assert page.evaluate("() => (window.kept || navigator.clipboard).readText()") == "text to copy"
    button = page.get_by_role("button", name="Copy the digest")
    button.click()
    expect(button).to_have_attribute("data-result", "done")  # the time of the page stands still: it stays
    in_one_line = """button => { const said = getComputedStyle(button, '::after');
        return parseFloat(said.height) < parseFloat(said.width) }"""
    assert button.evaluate(in_one_line), "it is said in one line"


def test_a_refused_clipboard_is_told(show: Callable[..., Page]) -> None:
    page = show()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(Error('refused')) }")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#said")).to_have_text("Could not copy")


def test_a_menu_closes_by_escape_and_by_a_click_elsewhere(show: Callable[..., Page]) -> None:
    page = show()
    warning = page.get_by_text("Everything stops.")
    summary = page.locator("summary", has_text="Stop")
    summary.press("Enter")
    expect(warning).to_be_visible()
    page.keyboard.press("Escape")
    expect(warning).to_be_hidden()
    expect(summary).to_be_focused()
    summary.click()
    expect(warning).to_be_visible()
    page.get_by_role("heading", name="A page").click()
    expect(warning).to_be_hidden()


def test_a_form_is_sent_once(show: Callable[..., Page], server: Server) -> None:
    page = show()
    page.get_by_role("button", name="Redeploy", exact=True).dblclick()
    wait_until(lambda: page.evaluate("0") == 0 and bool(server.posted), "the form is sent")
    page.get_by_role("button", name="Redeploy", exact=True).click()
    assert server.posted == ["/redeploy"]
