"""The form and the pages of handlers in a browser: on a desk and a phone, in both themes, with and without scripts."""

import sqlite3
from contextlib import closing

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.browser import DESK, PHONE, Browser, Screen, sign_in
from tests.support.server import APIKEY, USER, LiveServer

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def service(live_server: LiveServer) -> str:
    return live_server.run_service("handler-form")


@pytest.fixture(scope="module")
def path(live_server: LiveServer, service: str) -> str:
    """The page of a handler that has something of everything."""
    made = live_server.make_handler(
        service,
        name="all of it",
        verify={"preset": "hmac", "header": "X-Sig", "secrets": ["one", "two"]},
        filter=[{"preset": "branch", "branch": "main"}, {"preset": "branch", "branch": "m*"}],
        tag={"allow": ["v*"]},
        expires_datetime="2099-01-31T12:00:07Z",
        max_uses=7,
    )
    for _ in range(3):
        live_server.post(made["url"], b"{}")
    live_server.request("POST", f"{made['resource_uri']}rotate/", {"grace": 3600})
    with closing(sqlite3.connect(next(live_server.data.glob("*.db")))) as connection:
        number = connection.execute("SELECT max(seq) FROM handlers").fetchone()[0]
    return f"/service/{service}/handler/{number}/"


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_a_person_makes_a_handler_sees_its_url_and_revokes_it(
    browser: Browser, live_server: LiveServer, service: str, screen: Screen, has_scripts: bool
) -> None:
    page = browser.open(live_server.url, screen, has_scripts=has_scripts)
    sign_in(page, USER, APIKEY)
    page.goto(f"/service/{service}/handler/new/")
    page.get_by_label("Name", exact=True).fill("by hand")
    page.locator("summary", has_text="Who may call").click()
    page.get_by_label("Sender", exact=True).select_option(label="GitHub")
    page.get_by_label("Secrets", exact=True).fill("a secret of GitHub")
    page.locator("summary", has_text="Which calls count").click()
    page.get_by_label("Branches", exact=True).fill("main\nrelease/*")
    page.get_by_role("button", name="Create the handler").click()
    expect(page.get_by_role("heading", name="by hand")).to_be_visible()
    expect(page.get_by_text("Only pushes to the branch main or release/*.")).to_be_visible()
    page.get_by_role("button", name="Show the URL", exact=True).click()
    url = page.get_by_label("Copy the URL").and_(page.locator("input")).input_value()
    call = url.removeprefix(live_server.url)
    assert live_server.post(call).status == 401
    page.get_by_role("link", name="Done").click()
    page.locator("summary", has_text="Revoke").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_role("heading", name="handler-form")).to_be_visible()
    assert live_server.post(call).status == 404


def test_only_what_the_choices_need_is_shown(browser: Browser, live_server: LiveServer, service: str) -> None:
    page = browser.open(live_server.url, has_scripts=False)
    sign_in(page, USER, APIKEY)
    page.goto(f"/service/{service}/handler/new/")
    for title in ("What a call does", "Who may call", "Limits"):
        page.locator("summary", has_text=title).click()
    sender, secrets, header = (page.get_by_label(name, exact=True) for name in ("Sender", "Secrets", "Header"))
    for choice, shown in (("", []), ("github", [secrets]), ("token", [secrets, header]), ("hmac", [secrets, header])):
        sender.select_option(choice)
        for each in (secrets, header):
            assert each.is_visible() == (each in shown), choice
        assert page.get_by_label("Prefix").is_visible() == (choice == "hmac")
    tags, most = page.get_by_label("Allowed tags"), page.get_by_label("Most containers")
    assert (tags.is_visible(), most.is_visible()) == (True, False)
    page.get_by_role("radio", name="Scale up").check()
    assert (tags.is_visible(), most.is_visible()) == (False, True)


def test_a_browser_changes_nothing_of_a_form_that_nobody_touched(
    browser: Browser, live_server: LiveServer, path: str
) -> None:
    page = browser.open(live_server.url)
    sign_in(page, USER, APIKEY)
    page.goto(f"{path}edit/")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Nothing was different, so nothing is changed.")).to_be_visible()


# Each page with axe takes seconds: a screen changes the layout and a theme the colors, so that two pairs see all.
@pytest.mark.parametrize(("screen", "is_dark"), [(DESK, False), (PHONE, True)], ids=["desk-light", "phone-dark"])
def test_pages_of_handlers_are_accessible_and_fit_the_screen(
    browser: Browser, live_server: LiveServer, service: str, path: str, screen: Screen, is_dark: bool
) -> None:
    page = browser.open(live_server.url, screen, is_dark=is_dark)
    sign_in(page, USER, APIKEY)
    for address in (
        path,
        f"{path}edit/",
        f"{path}try/",
        f"/service/{service}/handler/999999/",
        f"/service/{service}/handler/new/",
    ):
        page.goto(address)
        _check(page, address)
    page.get_by_role("radio", name="Scale up").check()
    page.get_by_label("Rate limit").fill("often")
    page.get_by_role("button", name="Create the handler").click()
    _check(page, "errors")
    page.goto(f"{path}try/")
    page.get_by_role("button", name="Try this payload").click()
    _check(page, "tried")
    page.goto(path)
    page.get_by_role("button", name="Show the URL", exact=True).click()
    _check(page, "URL")


def _check(page: Page, place: str) -> None:
    page.wait_for_load_state()
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = each.matches('.group, .json'))")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found if each["impact"] in SERIOUS] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
