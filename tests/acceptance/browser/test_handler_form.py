"""The form and the pages of handlers in a browser."""

import sqlite3
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.support.browser import DESK, PHONE, Browser, Screen, sign_in
from tests.support.server import APIKEY, USER, LiveServer


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service("handler-form")


@pytest.fixture(scope="session")
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


@pytest.mark.slow
def test_what_was_done_is_said_once_and_an_untouched_form_changes_nothing(
    browser: Browser, live_server: LiveServer, path: str
) -> None:
    page = browser.open(live_server.url)
    sign_in(page, USER, APIKEY)
    page.goto(f"{path}edit/")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Nothing was different, so nothing is changed.")).to_be_visible()
    for button, said in (("Disable", "The handler is disabled."), ("Enable", "The handler is enabled:")):
        page.goto(path)
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_text(said)).to_be_visible()
        expect(page).to_have_url(f"{live_server.url}{path}")
        with page.expect_response(f"{live_server.url}{path}") as refreshed:
            page.evaluate("document.getElementById('live').dispatchEvent(new Event('refresh'))")
        assert refreshed.value.ok
        expect(page.get_by_text(said)).to_be_visible()
        page.goto("/services/")
        page.go_back()
        expect(page.get_by_role("heading", name="all of it")).to_be_visible()
        expect(page.get_by_text(said)).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_the_button_to_save_stays_in_sight_and_covers_nothing_that_has_the_focus(
    browser: Browser, live_server: LiveServer, path: str, screen: Screen
) -> None:
    page = browser.open(live_server.url, screen)
    sign_in(page, USER, APIKEY)
    page.goto(f"{path}edit/")
    save, bar = page.get_by_role("button", name="Save"), page.locator(".handler-form > .acts")
    expect(save).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollHeight") > 1.5 * screen.height
    fields = page.locator(".handler-form input:visible, .handler-form select:visible, .handler-form summary:visible")
    for each in fields.all()[:-1]:  # the last one is in the bar
        each.focus()
        box, below = each.bounding_box(), bar.bounding_box()
        assert box and below and box["y"] + box["height"] <= below["y"] + 1, each
    page.set_viewport_size({"width": screen.width, "height": 400})
    page.evaluate("window.scrollTo(0, 0)")
    expect(save).not_to_be_in_viewport()


@pytest.mark.slow
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
