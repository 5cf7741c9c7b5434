"""Every page of the dashboard is for everybody: axe finds nothing, none scrolls sideways, and fingers hit each target.

The pages come from the routes of the site, so that a new page is among them by itself.
"""

from itertools import cycle, product

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.acceptance.browser.filled_server import FilledServer, page_templates
from tests.support.browser import DESK, PHONE, Browser, Screen, sign_in
from tests.support.server import APIKEY, USER

NARROW = Screen(width=360, height=740, is_touched=True)
LYING = Screen(width=640, height=360, is_touched=True)
FINGER_PX = 44
"""WCAG 2.5.5."""
_OPEN = "(is) => document.querySelectorAll('main details').forEach(each => each.open = is)"
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

# Axe takes seconds a page, and more on a busy machine. `filled` is made once, beside Chromium.
pytestmark = [pytest.mark.timeout(2400), pytest.mark.chromium]


TURNS = [(NARROW, True, True), (DESK, False, False)]
"""Pages take turns: one is looked at on a dark phone with all opened, the next on a bright desk as it comes."""
EACH = product((DESK, PHONE, NARROW, LYING), (False, True), (False, True))


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param(TURNS, id="in turns", marks=pytest.mark.slow),
        *(pytest.param([each], id=f"{each[0].width}, {each[1:]}", marks=pytest.mark.nightly) for each in EACH),
    ],
)
def test_each_page_is_for_everybody(
    browser: Browser, filled: FilledServer, looks: list[tuple[Screen, bool, bool]]
) -> None:
    page = browser.open(filled.server.url, looks[0][0])
    found = check(page, "/sign-in/")
    sign_in(page, USER, APIKEY)
    addresses = filled.addresses(of_each=1 if looks is TURNS else 1000)
    for address, (screen, is_dark, is_open) in zip(addresses, cycle(looks), strict=False):
        page.set_viewport_size({"width": screen.width, "height": screen.height})
        page.emulate_media(color_scheme="dark" if is_dark else "light")
        found += check(page, address, is_open=is_open)
    assert not found, "\n".join(dict.fromkeys(found))


@pytest.mark.slow
def test_axe_finds_nothing_on_pages_that_answer_a_form(browser: Browser, filled: FilledServer) -> None:
    page = browser.open(filled.server.url)
    sign_in(page, USER, APIKEY)
    found: list[str] = []
    for address, button, name in (
        (filled.address("handler"), "Show the URL", ""),
        (filled.address("service", 1, "/service/{uuid}/handler/new/"), "Create the handler", "x" * 300),
        (filled.address("handler", 0, "/service/{service_uuid}/handler/{number}/try/"), "Try this payload", ""),
        (filled.address("service", 1, "/service/{uuid}/connect/?sender=ghcr"), "Create the URL", ""),
        ("/account/", "Make a key", ""),
    ):
        page.goto(address)
        if name:
            page.get_by_label("Name", exact=True).fill(name)
        with page.expect_navigation():
            page.get_by_role("button", name=button).click()
        found += find_violations(page)
    page.goto("/nowhere/")
    found += find_violations(page)
    assert not found, "\n".join(found)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_walk_visits_every_route(filled: FilledServer) -> None:
    """A route whose kind of parameter is not known would be left out, or fail; each has a page here."""
    addresses = list(filled.addresses())
    assert len(addresses) == len(set(addresses)) > len(page_templates()) > 20
    assert len(list(filled.addresses(of_each=1))) == len(page_templates())
    assert not [address for address in addresses if "{" in address]


def check(page: Page, address: str, *, is_open: bool = False) -> list[str]:
    """Open a page, and return what keeps people out of it."""
    response = page.goto(address)
    assert response is not None and response.status == 200, f"{address}: {response and response.status}"
    found = []
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append(f"{address} scrolls sideways")
    page.evaluate(_OPEN, is_open)
    if page.evaluate("innerWidth") < DESK.width:
        found += [f"{address}: {small}" for small in page.evaluate(_SMALL_TARGETS, FINGER_PX)]
    return found + find_violations(page)


def find_violations(page: Page) -> list[str]:
    """Return what axe finds on the page that is open."""
    page.wait_for_load_state()
    path = page.url.partition("?")[0].split("/", 3)[3]
    return [
        f"/{path}: {each['id']} ({each['impact']}): {node['html'][:200]}"
        for each in Axe().run(page).response["violations"]
        for node in each["nodes"]
    ]
