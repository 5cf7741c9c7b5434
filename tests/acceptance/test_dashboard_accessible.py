"""Every page of the dashboard is for everybody: axe finds nothing, none scrolls sideways, and the keyboard is enough.

The pages come from the routes of the site, so that a new page is among them by itself.
"""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.acceptance.filled_server import FilledServer, filled_server, page_templates
from tests.support.browser import DESK, PHONE, Browser, Screen, sign_in
from tests.support.server import APIKEY, USER

NARROW = Screen(width=360, height=740, is_touched=True)
LYING = Screen(width=640, height=360, is_touched=True)
FINGER_PX = 44
"""WCAG 2.5.5."""
_SMALL_TARGETS = """(smallest) => {
    const text = node => node.nodeType === Node.TEXT_NODE && node.textContent.trim().replace(/[,.;:()]/g, "");
    // WCAG 2.5.5 exempts links within a sentence.
    const inSentence = each => each.matches("a") && [...each.parentElement.childNodes].some(text);
    const isReached = each => each.checkVisibility({checkVisibilityCSS: true}) && !each.closest(".skip, .hide");
    const area = each => {
        const own = each.getBoundingClientRect();
        const label = each.labels?.[0]?.getBoundingClientRect();
        return label && each.matches("[type=checkbox], [type=radio]") ? label : own;
    };
    return [...document.querySelectorAll("a, button, summary, input:not([type=hidden]), select, textarea")]
        .filter(each => isReached(each) && !inSentence(each) && area(each).height < smallest)
        .map(each => `${Math.round(area(each).height)} px: ${each.outerHTML.slice(0, 160)}`);
}"""

pytestmark = pytest.mark.timeout(2400)  # axe takes seconds a page, and more on a busy machine


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilledServer]:
    with filled_server(tmp_path_factory.mktemp("filled")) as made:
        yield made


def test_axe_finds_nothing_on_any_page_in_any_theme_and_size(browser: Browser, filled: FilledServer) -> None:
    page = browser.open(filled.server.url)
    found = violations(page, "/sign-in/")
    sign_in(page, USER, APIKEY)
    for address in filled.addresses():
        found += violations(page, address)
    assert not found, "\n".join(found)


def test_axe_finds_nothing_in_what_opens(browser: Browser, filled: FilledServer) -> None:
    page = browser.open(filled.server.url)
    sign_in(page, USER, APIKEY)
    found: list[str] = []
    for address in filled.addresses():
        page.goto(address)
        closed = page.locator("main details").count()
        for index in range(closed):
            page.evaluate(
                "index => document.querySelectorAll('main details').forEach((each, at) => each.open = at == index)",
                index,
            )
            if index % 4 == 0 or index == closed - 1:
                found += check(page)
    assert not found, "\n".join(dict.fromkeys(found))


def test_axe_finds_nothing_on_pages_that_answer_a_form(browser: Browser, filled: FilledServer) -> None:
    page = browser.open(filled.server.url)
    sign_in(page, USER, APIKEY)
    found: list[str] = []
    page.goto(filled.address("handler"))
    with page.expect_navigation():
        page.get_by_role("button", name="Show the URL").click()
    found += check(page)
    page.goto(filled.address("service", 1, "/service/{uuid}/handler/new/"))
    page.get_by_label("Name", exact=True).fill("x" * 300)
    with page.expect_navigation():
        page.get_by_role("button", name="Create the handler").click()
    found += check(page)
    page.goto(filled.address("handler", 0, "/service/{service_uuid}/handler/{number}/try/"))
    with page.expect_navigation():
        page.get_by_role("button", name="Try this payload").click()
    found += check(page)
    page.goto("/account/")
    with page.expect_navigation():
        page.get_by_role("button", name="Make a key").click()
    found += check(page)
    page.goto("/nowhere/")
    found += check(page)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("screen", [NARROW, LYING], ids=["narrow", "lying"])
def test_no_page_scrolls_sideways_and_all_can_be_touched_on_a_small_phone(
    browser: Browser, filled: FilledServer, screen: Screen
) -> None:
    page = browser.open(filled.server.url, screen)
    found: list[str] = []
    sign_in(page, USER, APIKEY)
    for address in filled.addresses():
        page.goto(address)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{address} scrolls sideways")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found += [f"{address}: {small}" for small in page.evaluate(_SMALL_TARGETS, FINGER_PX)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("screen", [DESK, NARROW], ids=["desk", "narrow"])
def test_the_running_actions_hide_nothing_at_the_end_of_a_page(
    browser: Browser, filled: FilledServer, screen: Screen
) -> None:
    page = browser.open(filled.server.url, screen)
    sign_in(page, USER, APIKEY)
    page.goto(filled.address("service"))
    corner = page.locator("#corner")
    corner.locator("a").first.wait_for()
    # As with three that run, and a line for the others.
    corner.evaluate("each => { while (each.children.length < 4) each.append(each.firstElementChild.cloneNode(true)) }")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    ends = "[...document.querySelectorAll('#live > *')].map(each => each.getBoundingClientRect().bottom)"
    assert max(page.evaluate(ends)) <= corner.evaluate("each => each.getBoundingClientRect().top")


def test_the_walk_visits_every_route(filled: FilledServer) -> None:
    """A route whose kind of parameter is not known would be left out, or fail; each has a page here."""
    addresses = list(filled.addresses())
    assert len(addresses) == len(set(addresses)) > len(page_templates()) > 20
    assert not [address for address in addresses if "{" in address]


def violations(page: Page, address: str) -> list[str]:
    """Open a page, and return what axe finds on it in each size and theme."""
    response = page.goto(address)
    assert response is not None and response.status == 200, f"{address}: {response and response.status}"
    found = []
    for name, screen in (("desk", DESK), ("phone", PHONE)):
        page.set_viewport_size({"width": screen.width, "height": screen.height})
        page.emulate_media(color_scheme="light")
        of_screen = check(page)
        page.emulate_media(color_scheme="dark")
        of_screen += [f"dark {each}" for each in check(page, "color-contrast")]  # all that a theme changes
        found += [f"{name} {each}" for each in of_screen]
    return found


def check(page: Page, *rules: str) -> list[str]:
    """Return what axe finds on the page that is open, by some rules or by all."""
    page.wait_for_load_state()
    found = Axe().run(page, options={"runOnly": list(rules)} if rules else None).response["violations"]
    path = page.url.partition("?")[0].split("/", 3)[3]
    return [
        f"/{path}: {each['id']} ({each['impact']}): {node['html'][:200]}" for each in found for node in each["nodes"]
    ]
