"""Open pages in a real browser: they follow what runs, and keep what people do with them.

`test_page_scripts.py` has the rules of hidden, unconnected and signed-out pages.
"""

from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import PHONE, Browser, sign_in
from tests.support.server import APIKEY, USER, LiveServer
from tests.support.waiting import wait_until


def start_gated_redeploy(server: LiveServer, browser: Browser) -> tuple[Page, str, str, Path]:
    """Return the page of a redeploy that goes on until a file exists, its path, its service and the file."""
    service, gate = server.run_gated_service(f"web-{uuid4().hex[:8]}")
    handler = server.add_handler(service)
    page = browser.open(server.url)
    sign_in(page, USER, APIKEY)  # which may take a while
    called = server.post(f"/api/v1/service/{service}/webhook/handler/{handler}/call/", b"{}")
    path = str(called.json["action"]).removeprefix("/api/v1")
    page.goto(path)
    return page, path, service, gate


@pytest.mark.slow
def test_a_page_follows_a_redeploy_to_its_end_and_asks_no_more(browser: Browser, live_server: LiveServer) -> None:
    page, path, _, gate = start_gated_redeploy(live_server, browser)
    page.evaluate("window.sameDocument = true")
    # What people have opened and where they are stays.
    page.get_by_text("Cancel", exact=True).first.click()
    confirm = page.get_by_role("button", name="Cancel the action")
    confirm.focus()
    expect(page.get_by_text("Ending the old containers")).to_be_visible()
    expect(confirm).to_be_focused()
    gate.touch()
    expect(page.get_by_text("The old containers are gone")).to_be_visible()
    expect(page.locator(".head .state")).to_have_text("Success")
    expect(page.locator("#log")).to_contain_text("ended web-")
    assert page.evaluate("window.sameDocument")
    expect(page.locator('#log [data-every="0"]')).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    # The corner goes on: after it has asked twice, the others would have asked, too.
    for _ in range(2):
        with page.expect_request("**/running/"):
            pass
    assert not [url for url in asked if path in url]


@pytest.mark.slow
def test_logs_are_followed_and_searched_while_the_page_is_open(browser: Browser, live_server: LiveServer) -> None:
    gate = live_server.folder / "written"
    wait = f"while test ! -e {gate}; do sleep 0.1; done"
    service = live_server.run_service(
        f"web-{uuid4().hex[:8]}", f"echo first one; {wait}; echo last; echo last one; cat"
    )
    page = browser.open(live_server.url, PHONE)
    sign_in(page, USER, APIKEY)
    page.goto(f"/service/{service}/logs/?search=ONE")
    page.get_by_role("link", name="Follow", exact=True).press("Enter")
    lines = page.get_by_role("log", name="Output of the containers").locator("p")
    expect(lines).to_have_text(["first one"])
    gate.touch()
    expect(lines).to_have_text(["first one", "last one"])
    page.get_by_role("link", name="Stop following").press("Enter")
    expect(lines).to_have_text(["first one", "last one"])
    expect(page.locator("#output[data-after]")).to_have_count(0)


@pytest.mark.slow
def test_a_phone_shows_what_matters_of_a_service_on_its_first_two_screens(
    browser: Browser, live_server: LiveServer
) -> None:
    service, gate = live_server.run_gated_service(f"web-{uuid4().hex[:8]}", containers=3)
    handlers = [live_server.make_handler(service, debounce=3600 * number) for number in (0, 1)]
    handlers += [live_server.make_handler(service, enabled=False) for _ in range(3)]
    page = browser.open(live_server.url, PHONE)
    sign_in(page, USER, APIKEY)
    page.goto(f"/service/{service}/")
    paths = [handler["url"].removeprefix(live_server.url) for handler in handlers]
    running = live_server.post(paths[0], b"{}").json["action"]
    wait_until(lambda: live_server.request("GET", running).json["state"] == "In progress", "the redeploy runs")
    waiting = live_server.post(paths[1], b"{}").json["action"]
    try:
        page.reload()
        expect(page.locator(".notice:visible")).to_have_count(2)
        for card in ("containers", "handlers", "actions", "deliveries"):
            row = page.locator(f"#{card} tbody tr").first.bounding_box()
            assert row is not None and row["y"] + row["height"] <= 2 * PHONE.height, card
    finally:
        live_server.request("POST", f"{waiting}cancel/")
        gate.touch()
        live_server.wait_for_action(running)
