"""Signing in, forms and signing out in a real browser, with and without scripts."""

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.accounts import add_login_link, add_member
from tests.support.browser import DESK, PHONE, Browser, Screen, sign_in
from tests.support.server import APIKEY, USER, LiveServer

pytestmark = pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])


def sign_out(page: Page) -> None:
    page.locator("details.account summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/")


@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_forms_of_ours_work(browser: Browser, live_server: LiveServer, screen: Screen, has_scripts: bool) -> None:
    member = add_member(live_server, f"chromium-{screen.width}-{has_scripts}")
    page = browser.open(live_server.url, screen, has_scripts=has_scripts)
    sign_in(page, member.name, member.key)
    page.goto("/account/")
    page.get_by_label("Scope", exact=True).select_option("read")
    with page.expect_request("**/account/key/") as made:
        page.get_by_role("button", name="Make a key").click()
    key = page.get_by_role("textbox", name="Copy key").input_value()
    authorization = f"ApiKey {member.name}:{key}"
    assert live_server.request("GET", "/api/v1/service/", authorization=authorization).status == 200
    assert (made.value.method, made.value.all_headers()["origin"]) == ("POST", "null"), (
        "pages that send no referrer send no origin"
    )


def test_a_link_signs_in(browser: Browser, live_server: LiveServer, has_scripts: bool) -> None:
    member = add_member(live_server, f"chromium-link-{has_scripts}")
    page = browser.open(live_server.url, has_scripts=has_scripts)
    token = add_login_link(live_server, member.name)
    page.goto(f"/sign-in/link/{token}/")
    assert token not in page.title()
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live_server.url}/")
    expect(page.get_by_text(member.name).first).to_be_visible()
    page.goto(f"/sign-in/link/{token}/")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()


def test_after_signing_out_history_shows_nothing(browser: Browser, live_server: LiveServer, has_scripts: bool) -> None:
    page = browser.open(live_server.url, has_scripts=has_scripts)
    sign_in(page, USER, APIKEY)
    page.goto("/account/")
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    sign_out(page)
    for _ in range(2):
        page.go_back()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        assert "API keys" not in page.content()


def test_a_form_of_another_site_changes_nothing(browser: Browser, live_server: LiveServer, has_scripts: bool) -> None:
    member = add_member(live_server, f"chromium-evil-{has_scripts}")
    page = browser.open(live_server.url, has_scripts=has_scripts)
    sign_in(page, member.name, member.key)
    evil = f"http://localhost:{live_server.port}"
    fields = '<input name="csrf" value="x"><button>Win a prize</button>'
    html = f'<form method="post" action="{live_server.url}/account/sessions/end/">{fields}</form>'
    page.route(f"{evil}/prize", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(f"{evil}/prize")
    page.get_by_role("button", name="Win a prize").click()
    expect(page.locator("body")).to_contain_text("page of another site sent this", ignore_case=True)
    page.goto("/account/")
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
    browser.faults.clear()  # the other site


def test_no_other_page_frames_ours(browser: Browser, live_server: LiveServer, has_scripts: bool) -> None:
    page = browser.open(live_server.url, has_scripts=has_scripts)
    sign_in(page, USER, APIKEY)
    evil = f"http://localhost:{live_server.port}"
    html = f'<iframe src="{live_server.url}/account/" width="800" height="600"></iframe>'
    page.route(f"{evil}/frame", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(f"{evil}/frame")
    assert not any("API keys" in frame.content() for frame in page.frames)
    browser.faults.clear()  # the other site, and what Chromium says of the frame
