"""The browser of the tests shows pages on each screen, and notices what pages must not do."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import DESK, PHONE, Browser, Screen, sign_in
from tests.support.server import APIKEY, USER, LiveServer
from tests.support.waiting import wait_until


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_people_sign_in_on_each_screen(
    browser: Browser, live_server: LiveServer, screen: Screen, has_scripts: bool
) -> None:
    page = browser.open(live_server.url, screen, has_scripts=has_scripts)
    sign_in(page, USER, APIKEY)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert page.viewport_size == {"width": screen.width, "height": screen.height}


def test_each_opened_page_has_its_own_cookies(browser: Browser, live_server: LiveServer) -> None:
    sign_in(browser.open(live_server.url), USER, APIKEY)
    other = browser.open(live_server.url, is_dark=True)
    other.goto("/")
    assert other.url.endswith("/sign-in/")
    assert other.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("setTimeout(() => { throw Error('broken') })", "broken"),
        ("console.error('worse')", "worse"),
        ("document.body.style.cssText = ''; document.body.setAttribute('style', 'color: red')", "style-src 'self'"),
        ("fetch('http://elsewhere.example/').catch(() => 0)", "elsewhere.example"),
        ("document.body.innerHTML = '<img src=http://127.0.0.1:9/>'", "127.0.0.1:9"),
    ],
)
def test_what_a_page_must_not_do_is_noticed(browser: Browser, live_server: LiveServer, script: str, fault: str) -> None:
    page = browser.open(live_server.url)
    page.goto("/sign-in/")
    page.evaluate(f"() => {{ {script} }}")

    def is_noticed() -> bool:
        page.evaluate("0")  # Playwright reads what the browser has said
        return any(fault in each for each in browser.faults)

    wait_until(is_noticed, f"{fault} is noticed")
    browser.faults.clear()
