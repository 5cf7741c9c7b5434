"""Open pages in a real browser: they follow what runs, keep what people do with them, and stop when they should."""

from pathlib import Path
from uuid import uuid4

from playwright.sync_api import Page, expect

from tests.acceptance.accounts import add_member, run_tutumd
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


def test_a_page_follows_a_redeploy_to_its_end(browser: Browser, live_server: LiveServer) -> None:
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
    live_server.wait_for_action(f"/api/v1{path}")


def test_an_ended_action_is_not_asked_for_again(browser: Browser, live_server: LiveServer) -> None:
    page, path, _, gate = start_gated_redeploy(live_server, browser)
    gate.touch()
    expect(page.locator(".head .state")).to_have_text("Success")
    expect(page.locator('#log [data-every="0"]')).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    # The corner goes on: after it has asked twice, the others would have asked, too.
    for _ in range(2):
        with page.expect_request("**/running/"):
            pass
    assert not [url for url in asked if path in url]


def test_a_hidden_page_asks_nothing_and_is_up_to_date_when_it_is_shown(
    browser: Browser, live_server: LiveServer
) -> None:
    page, path, _, gate = start_gated_redeploy(live_server, browser)
    set_hidden = """hidden => {
        Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(set_hidden, True)
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    gate.touch()
    live_server.wait_for_action(f"/api/v1{path}")
    page.evaluate("1")  # events that have come in are delivered
    assert not [url for url in asked if "/static/" not in url]
    page.evaluate(set_hidden, False)
    expect(page.locator(".head .state")).to_have_text("Success")


def test_a_page_says_since_when_it_has_no_connection(browser: Browser, live_server: LiveServer) -> None:
    page, path, _, gate = start_gated_redeploy(live_server, browser)
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_contain_text("last updated")
    gate.touch()
    live_server.wait_for_action(f"/api/v1{path}")
    page.context.set_offline(False)
    expect(page.locator(".head .state")).to_have_text("Success")
    expect(page.locator("#offline")).to_be_hidden()
    browser.faults[:] = [
        fault for fault in browser.faults if "INTERNET_DISCONNECTED" not in fault and "fetch" not in fault
    ]


def test_a_page_leads_to_sign_in_once_its_user_is_gone(browser: Browser, live_server: LiveServer) -> None:
    name = f"ann-{uuid4().hex[:8]}"
    member = add_member(live_server, name)
    page = browser.open(live_server.url)
    sign_in(page, name, member.key)
    page.goto("/services/")
    assert run_tutumd(live_server.data, "user", "rm", name).returncode == 0
    expect(page.get_by_label("API key")).to_be_visible()


def test_what_was_wrong_with_a_form_stays_while_the_page_goes_on(browser: Browser, live_server: LiveServer) -> None:
    page, path, service, gate = start_gated_redeploy(live_server, browser)
    page.goto(f"/service/{service}/")
    page.locator("summary", has_text="Scale").click()
    page.get_by_label("Containers", exact=True).fill("100000")
    page.evaluate("document.querySelector('#scale form').noValidate = true")
    page.get_by_role("button", name="Scale", exact=True).click()
    told = page.get_by_text("type a number from 0 to")
    expect(told).to_be_visible()
    gate.touch()
    live_server.wait_for_action(f"/api/v1{path}")
    expect(page.locator(".head .state")).to_have_text("Running")
    expect(told).to_be_visible()
    expect(page.get_by_label("Containers", exact=True)).to_have_value("100000")


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
