"""What only a browser does with sessions: its history, the origin it sends, and pages of other sites."""

import pytest
from playwright.sync_api import expect

from tests.acceptance.accounts import add_member
from tests.support.browser import Browser, sign_in
from tests.support.server import APIKEY, USER, LiveServer


@pytest.mark.slow
def test_after_signing_out_history_shows_nothing(browser: Browser, live_server: LiveServer) -> None:
    page = browser.open(live_server.url)
    sign_in(page, USER, APIKEY)
    page.goto("/account/")
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    page.locator("details.account summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/")
    for _ in range(2):
        page.go_back()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        assert "API keys" not in page.content()


@pytest.mark.slow
def test_other_sites_neither_send_our_forms_nor_frame_our_pages(browser: Browser, live_server: LiveServer) -> None:
    member = add_member(live_server, "chromium-evil")
    page = browser.open(live_server.url)
    sign_in(page, member.name, member.key)
    page.goto("/account/")
    with page.expect_request("**/account/key/") as made:
        page.get_by_role("button", name="Make a key").click()
    assert made.value.all_headers()["origin"] == "null", "pages that send no referrer send no origin"
    evil = f"http://localhost:{live_server.port}"
    fields = '<input name="csrf" value="x"><button>Win a prize</button>'
    html = f"""<form method="post" action="{live_server.url}/account/sessions/end/">{fields}</form>
        <iframe src="{live_server.url}/account/" width="800" height="600"></iframe>"""
    page.route(f"{evil}/prize", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(f"{evil}/prize")
    assert not any("API keys" in frame.content() for frame in page.frames)
    page.get_by_role("button", name="Win a prize").click()
    expect(page.locator("body")).to_contain_text("page of another site sent this", ignore_case=True)
    page.goto("/account/")
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
    browser.faults.clear()  # the other site, and what Chromium says of the frame
