"""The keyboard alone does everything on the dashboard, and shows where it is."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.browser.filled_server import FilledServer
from tests.support.browser import Browser
from tests.support.server import APIKEY, USER

_MAX_STOPS = 150
_STOP = """() => {
    const at = document.activeElement, looks = getComputedStyle(at), box = at.getBoundingClientRect();
    const isOutlined = looks.outlineStyle !== "none" && parseFloat(looks.outlineWidth) >= 2;
    const isInView = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    return {isSeen: at === document.body || (isOutlined && isInView), what: at.outerHTML.slice(0, 200)};
}"""


class Keyboard:
    """Somebody who has no mouse."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def reach(self, wanted: Locator, key: str = "Tab") -> None:
        """Press Tab, or Shift+Tab, until something has the focus; each stop on the way can be seen."""
        expect(wanted).to_have_count(1)
        for _ in range(_MAX_STOPS):
            self._page.keyboard.press(key)
            stop = self._page.evaluate(_STOP)
            assert stop["isSeen"], f"{self._page.url}: the focus cannot be seen: {stop['what']}"
            if wanted.evaluate("each => each === document.activeElement"):
                return
        raise AssertionError(f"{self._page.url}: {key} does not lead to {wanted}")

    def press(self, wanted: Locator, key: str = "Enter") -> None:
        """Reach something, and press a key there. All but the title of a menu leads to another page."""
        self.reach(wanted)
        if wanted.evaluate("each => each.matches('summary')"):
            self._page.keyboard.press(key)
            return
        with self._page.expect_navigation():
            self._page.keyboard.press(key)

    def type(self, wanted: Locator, text: str) -> None:
        """Reach a field, and type into it."""
        self.reach(wanted)
        self._page.keyboard.type(text)


@pytest.fixture
def page(browser: Browser, filled: FilledServer) -> Page:
    """A page of somebody who has signed in with the keyboard."""
    page = browser.open(filled.server.url)
    keyboard = Keyboard(page)
    page.goto("/")
    keyboard.type(page.get_by_label("User"), USER)
    keyboard.type(page.get_by_label("API key"), APIKEY)
    keyboard.press(page.get_by_role("button", name="Sign in"), "Space")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


@pytest.mark.slow
def test_a_handler_is_made_its_url_is_shown_and_it_is_revoked(page: Page) -> None:
    keyboard = Keyboard(page)
    page.reload()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("Boolean(document.activeElement.closest('main'))")
    keyboard.reach(page.get_by_role("link", name="Overview"), "Shift+Tab")
    keyboard.press(page.get_by_role("navigation", name="Pages").get_by_role("link", name="Services"))
    keyboard.press(page.locator("main").get_by_role("link", name="shop-web", exact=True))
    keyboard.press(page.get_by_role("link", name="New handler with all its settings"))
    keyboard.type(page.get_by_label("Name", exact=True), "by-keyboard")
    keyboard.press(page.get_by_role("button", name="Create the handler"))
    expect(page.get_by_role("heading", name="by-keyboard")).to_be_visible()
    keyboard.press(page.get_by_role("button", name="Show the URL"))
    url = page.locator("main input").first
    expect(url).to_have_value(re.compile("/call/$"))
    keyboard.reach(url)
    keyboard.press(page.get_by_role("link", name="Done"))
    keyboard.press(page.locator("summary", has_text="Revoke"), "Space")
    keyboard.press(page.get_by_role("button", name="Revoke it"))
    expect(page.get_by_role("link", name="by-keyboard")).to_have_count(0)
    keyboard.press(page.locator(".account > summary"), "Space")
    keyboard.press(page.get_by_role("button", name="Sign out"))
    expect(page.get_by_label("API key")).to_be_visible()
