"""The browser of the tests gives each page its own cookies, and notices what pages must not do."""

import pytest

from tests.support.browser import Browser
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


FAULTS = (
    ("setTimeout(() => { throw Error('broken') })", "broken"),
    ("console.error('worse')", "worse"),
    ("document.body.style.cssText = ''; document.body.setAttribute('style', 'color: red')", "style-src 'self'"),
    ("fetch('http://elsewhere.example/').catch(() => 0)", "elsewhere.example"),
    ("document.body.innerHTML = '<img src=http://127.0.0.1:9/>'", "127.0.0.1:9"),
)


def test_what_a_page_must_not_do_is_noticed(browser: Browser, live_server: LiveServer) -> None:
    page = browser.open(live_server.url)
    page.goto("/sign-in/")
    for script, _ in FAULTS:
        page.evaluate(f"() => {{ {script} }}")

    def are_noticed() -> bool:
        page.evaluate("0")  # Playwright reads what the browser has said
        return all(any(fault in each for each in browser.faults) for _, fault in FAULTS)

    wait_until(are_noticed, "all are noticed")
    browser.faults.clear()
